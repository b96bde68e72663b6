"""Names, shapes, units and conventions, declared once.

Conventions of the whole package
    energy   total energy of the structure, eV (VASP: the free energy, to which the forces belong)
    forces   F = -∂E/∂r, eV/Å
    stress   σ = (1/|V|) ∂E/∂ε, eV/Å³, tension positive (the sign of ASE), 3×3
    cell     rows are the lattice vectors, Å; left-handed cells are legal
    edges    ``edge_index[0]`` is the center i, ``[1]`` the neighbor j; r_ij = r_j - r_i + S·cell
    Born     Z[i, a, b] = ∂P_a/∂u_ib = ∂F_ib/∂E_a (field first), e; polarization = total dipole, e·Å
    charge   total charge of the cell, e: an input, not a label
"""

from dataclasses import dataclass
from typing import Literal

Level = Literal["structure", "atom"]

GPA_PER_EV_PER_CUBIC_ANGSTROM = 160.2176634
MEV_PER_EV = 1000.0
EV_PER_HARTREE = 27.211386245988
EV_PER_RYDBERG = EV_PER_HARTREE / 2
ANGSTROM_PER_BOHR = 0.529177210903
KBAR_PER_GPA = 10.0
COULOMB_CONSTANT = EV_PER_HARTREE * ANGSTROM_PER_BOHR
"""e²/(4πε0), eV·Å."""
WAVENUMBER_PER_THZ = 33.35640951981521
"""cm⁻¹."""
CM2_PER_S = 1e-4
"""A diffusion coefficient of 1 Å²/ps in cm²/s."""
S_PER_CM = 16.02176634
"""A conductivity of 1 e/(V·Å·ps) in S/cm."""


@dataclass(frozen=True)
class Property:
    """One physical property: where it lives, its shape there, its unit inside and in reports."""

    name: str
    level: Level
    shape: tuple[int, ...]
    unit: str
    short_name: str
    title: str
    report_unit: str
    report_factor: float
    metric_suffix: str
    per_atom: bool
    sentence: str


ENERGY = Property(
    "energy", "structure", (), "eV", "energy", "energy", "meV/atom", MEV_PER_EV, "mev_per_atom", True,
    "total energy of the structure",
)  # fmt: skip
FORCES = Property(
    "forces", "atom", (3,), "eV/Å", "forces", "forces", "meV/Å", MEV_PER_EV, "mev_per_ang", False,
    "force on each atom, -∂E/∂r",
)  # fmt: skip
STRESS = Property(
    "stress", "structure", (3, 3), "eV/Å³", "stress", "stress", "GPa", GPA_PER_EV_PER_CUBIC_ANGSTROM, "gpa", False,
    "stress (1/|V|) ∂E/∂ε, tension positive",
)  # fmt: skip
BORN = Property(
    "born_effective_charges", "atom", (3, 3), "e", "born", "Born charges", "e", 1.0, "e", False,
    "Born effective charges ∂P_a/∂u_b, field first",
)  # fmt: skip
POLARIZATION = Property(
    "polarization", "structure", (3,), "e·Å", "polarization", "polarization", "e·Å", 1.0, "e_ang", False,
    "total dipole of the cell, modulo e times lattice vectors",
)  # fmt: skip
DIELECTRIC = Property(
    "dielectric_tensor", "structure", (3, 3), "1", "dielectric", "dielectric tensor", "1", 1.0, "relative", False,
    "electronic (high-frequency) dielectric tensor",
)  # fmt: skip

PROPERTIES: dict[str, Property] = {p.name: p for p in (ENERGY, FORCES, STRESS, BORN, POLARIZATION, DIELECTRIC)}
"""All labels that a frame may carry, by name."""

RESPONSE = ("born_effective_charges", "polarization")
"""Labels that a response head learns from."""

TRAINABLE = ("energy", "forces", "stress", *RESPONSE)
"""Labels that models learn from."""


DOUBLE = ("energy", "polarization")
"""Labels that stay in double precision where all else is single: small differences of large numbers count."""


def metric_name(property_name: str, statistic: Literal["mae", "rmse"]) -> str:
    """Name of an error in ``metrics.json``.

    >>> metric_name("energy", "mae")
    'energy_mae_mev_per_atom'
    """
    p = PROPERTIES[property_name]
    return f"{p.short_name}_{statistic}_{p.metric_suffix}"

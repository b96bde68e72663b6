"""What polar modes need beyond force constants: Born charges of the primitive cell, ε∞, and what follows from them.

The macroscopic field of a longitudinal polar mode adds to the dynamical matrix, for q → 0 along the unit vector n,
(4πe²/4πε0) / V · (n·Z_i)_a (n·Z_j)_b / (n·ε∞·n) / √(m_i m_j) (Pick, Cohen and Martin, PRB 1, 910 (1970)).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from ase import Atoms, units
from numpy.typing import NDArray

from gnnpot.apps.datasets import frames_from
from gnnpot.apps.lattice_dynamics import phonopy_cell
from gnnpot.data.labels import labels_of
from gnnpot.errors import ConfigError, DataError
from gnnpot.keys import COULOMB_CONSTANT, DIELECTRIC
from gnnpot.models.potential import Potential
from gnnpot.models.prediction import default_properties, predict

FloatArray = NDArray[np.float64]
Dielectric = float | Sequence[float]


@dataclass(frozen=True)
class Electric:
    """What drives polar modes and what screens them, in the order of the primitive cell's atoms."""

    born: FloatArray
    """Z ``(n_atoms, 3, 3)``, e, field first, symmetrized, ΣZ = 0."""
    dielectric: FloatArray
    """ε∞ ``(3, 3)``."""
    dielectric_from: str
    """Where ε∞ came from, in words."""
    symmetrized_by: float
    """Largest change of a component of Z by symmetrization, e."""


def electric_of(
    potential: Potential,
    atoms: Atoms,
    primitive: Atoms,
    given: Dielectric | None,
    label: FloatArray | None,
    relaxed: bool,
    symprec: float,
) -> Electric | None:
    """Predicted Born charges and known ε∞; None for a model without a response head.

    Args:
        potential: model.
        atoms: the structure, whose total charge must be zero.
        primitive: the primitive cell.
        given: ε∞ as the user gave it, or None.
        label: ε∞ of the structure's label, or None.
        relaxed: whether the structure is another than the labeled one, which is said.
        symprec: Å, tolerance of symmetries.

    Raises:
        ConfigError: ε∞ is neither given nor labeled, or was given for a model that predicts no Born charges; the
            structure is charged.
    """
    if "born_effective_charges" not in default_properties(potential):
        if given is not None:
            raise ConfigError(
                f"dielectric={given}: the correction for polar modes needs Born charges as well, and "
                f"{potential.title} predicts none. Put a head on it (gnnpot fit head=polarization checkpoint=...), or "
                "leave dielectric=null"
            )
        return None
    if atoms.info.get("charge"):
        raise ConfigError(
            f"nac=true: the structure has the charge {atoms.info['charge']} e, and the field of a polar mode of a "
            "charged cell is not defined; use nac=false"
        )
    tensor = dielectric_tensor(given) if given is not None else label
    if tensor is None:
        raise ConfigError(
            "dielectric is missing: the model predicts Born charges, and the correction for polar modes also needs ε∞, "
            "which the structure is not labeled with. Give dielectric=3.1 (or 3 or 9 numbers), or nac=false"
        )
    if "charge" in atoms.info:
        primitive = primitive.copy()
        primitive.info["charge"] = atoms.info["charge"]
    labeled = "label of the structure" + (" before it was relaxed" if relaxed else "")
    source = "given" if given is not None else labeled
    predicted = predict(potential, [primitive], ["born_effective_charges"])[0]["born_effective_charges"]
    born, dielectric = _symmetrized(predicted, tensor, primitive, symprec)
    return Electric(born, dielectric, source, float(np.abs(born - predicted).max()))


def dielectric_tensor(value: Dielectric) -> FloatArray:
    """ε∞ ``(3, 3)`` from a number, three on the diagonal, or nine.

    >>> dielectric_tensor(3.1).diagonal().tolist()
    [3.1, 3.1, 3.1]

    Raises:
        ConfigError: another count of numbers, not symmetric, or below one in some direction.
    """
    try:
        numbers = np.array(value, dtype=np.float64).ravel()
    except (TypeError, ValueError):
        raise ConfigError(f"dielectric={value}: give a number, 3 or 9") from None
    if numbers.size not in (1, 3, 9):
        raise ConfigError(f"dielectric={value}: give a number, 3 (the diagonal) or 9, and not {numbers.size}")
    tensor = numbers.reshape(3, 3) if numbers.size == 9 else np.diag(np.broadcast_to(numbers, 3))
    if not np.isfinite(tensor).all() or not np.allclose(tensor, tensor.T, atol=1e-3 * np.abs(tensor).max()):
        raise ConfigError(f"dielectric={value}: ε∞ is a symmetric tensor of finite numbers")
    if np.linalg.eigvalsh(tensor).min() < 1.0:
        raise ConfigError(f"dielectric={value}: ε∞ is at least 1 in every direction (the vacuum's); give it relative")
    return tensor


def dielectric_label(structure: Atoms | str | Path, loaded: Atoms) -> FloatArray | None:
    """ε∞ that the structure is labeled with, or None.

    Args:
        structure: as the user gave it.
        loaded: what `load_structure` made of it.
    """
    if isinstance(structure, Atoms):
        found: FloatArray | None = labels_of(structure).get(DIELECTRIC.name)
        return found
    try:
        frames = frames_from(str(loaded.info["source"]))
    except DataError:
        return None
    frame = frames[int(loaded.info["frame"])]
    label: FloatArray | None = labels_of(frame).get(DIELECTRIC.name) if len(frame) == len(loaded) else None
    return label


def ionic_dielectric(
    frequencies: FloatArray, eigenvectors: NDArray[np.complex128], masses: FloatArray, born: FloatArray, volume: float
) -> FloatArray:
    """Lattice part of the static dielectric tensor, (4πk/V) Σ_m p_m ⊗ p_m / ω_m², ``(3, 3)``.

    p_m = Σ_i Z_i e_mi / √m_i is the dipole of the mode m at Γ without the correction, k = e²/(4πε0) (Gonze and Lee,
    PRB 55, 10355 (1997)). The three acoustic modes and unstable ones are left out.

    Args:
        frequencies: of the transverse modes at Γ, THz, ``(n_modes,)``.
        eigenvectors: columns, ``(n_modes, n_modes)``.
        masses: amu, ``(n_atoms,)``.
        born: Z, ``(n_atoms, 3, 3)``.
        volume: Å³.
    """
    chosen = frequencies > max(0.3, 0.02 * float(frequencies.max()))
    displacements = eigenvectors.T.reshape(len(frequencies), -1, 3) / np.sqrt(masses)[None, :, None]
    dipoles = np.einsum("iab,mib->ma", born, displacements)[chosen]
    omega = 2.0 * np.pi * frequencies[chosen] * 1e-3 / units.fs
    outer = np.einsum("ma,mb,m->ab", dipoles, dipoles.conj(), omega**-2.0)
    return np.asarray(4.0 * np.pi * COULOMB_CONSTANT / volume * outer.real)


def _symmetrized(born: FloatArray, dielectric: FloatArray, primitive: Atoms, symprec: float) -> tuple[FloatArray, ...]:
    """Tensors with the symmetry of the crystal and ΣZ = 0, by phonopy."""
    from phonopy.structure.symmetry import symmetrize_borns_and_epsilon

    found = symmetrize_borns_and_epsilon(born, dielectric, phonopy_cell(primitive), symprec=symprec)
    return np.asarray(found[0]), np.asarray(found[1])

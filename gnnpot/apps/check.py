"""A physics self-test that any user can run on any model: `check`."""

from collections import Counter
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from ase import Atoms
from ase.data import chemical_symbols, covalent_radii
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text

from gnnpot.apps import physics_tests as physics
from gnnpot.apps import response_tests as response
from gnnpot.apps.calculator import Calculator, prepared
from gnnpot.apps.evaluate import write_json
from gnnpot.apps.relax import minimizer
from gnnpot.apps.structures import Repeat, load_structure
from gnnpot.data.bundled import bundled_names
from gnnpot.errors import GnnpotError
from gnnpot.keys import BORN, POLARIZATION
from gnnpot.models.potential import Potential
from gnnpot.models.prediction import refuse_unfit
from gnnpot.models.properties import available_properties
from gnnpot.report.terminal import say

PASSED, FAILED, SKIPPED, REPORTED = "passed", "failed", "skipped", "reported"


@dataclass(frozen=True)
class Law:
    """One law of physics: what it says, how it is measured, and how far from it is still rounding."""

    name: str
    measure: Callable[[Potential, Atoms, np.random.Generator], float]
    unit: str
    tolerance: float
    needs_energy: bool = False
    needs_volume: bool = False
    needs_void: bool = False
    """Whether it looks at atoms without periodic images."""
    needs_polarization: bool = False


LAWS = (
    Law("rotation", physics.rotation_error, "eV, Å", 1e-6),
    Law("reflection", physics.reflection_error, "eV, Å", 1e-6),
    Law("translation", physics.translation_error, "eV, Å", 1e-6),
    Law("permutation of atoms", physics.permutation_error, "eV, Å", 1e-6),
    Law("atom moved by lattice vectors", physics.lattice_shift_error, "eV, Å", 1e-6),
    Law("supercell", physics.supercell_error, "eV, Å", 1e-6),
    Law("batch = single", physics.batch_error, "eV, Å", 1e-6),
    Law("forces = -dE/dr", physics.force_derivative_error, "relative", 1e-5, needs_energy=True),
    Law("stress = dE/dε / V", physics.stress_derivative_error, "eV/atom", 1e-5, needs_energy=True, needs_volume=True),
    Law("energy at the cutoff", physics.cutoff_energy_jump, "eV/atom", 1e-6, needs_energy=True),
    Law("forces at the cutoff", physics.cutoff_force_jump, "eV/Å", 1e-4),
    Law("isolated atoms: force", physics.isolated_force, "eV/Å", 1e-9, needs_void=True),
    Law("isolated atoms: energy", physics.isolated_energy_error, "eV", 1e-3, needs_energy=True, needs_void=True),
    Law("far clusters add up", physics.separation_error, "eV, Å", 1e-6, needs_void=True),
    Law("slab, wire, molecule", physics.partial_periodicity_error, "eV, Å", 1e-6, needs_void=True),
    Law("net force", physics.net_force, "eV/Å", 1e-6),
    Law("symmetric force Jacobian", physics.nonconservativeness, "‖J-Jᵀ‖/‖J‖", 1e-4),
)
"""All laws of energies and forces but the conservation of energy, in the order of the table."""

RESPONSE_LAWS = (
    Law("rotation of Born charges", response.born_orientation_error, "e", 1e-6),
    Law("Born charges add up to Q", response.sum_rule_error, "e/atom", 1e-9),
    Law("Born charges = dP/dr", response.born_derivative_error, "e", 1e-6, needs_polarization=True),
    Law("loop in a field: work left", response.work_on_a_loop, "∮dW/∮|dW|", 1e-6),
)
"""Those of the response to an electric field, of models that have a head for it."""

DRIFT_TOLERANCE = 1.0
"""meV/atom/ps, over a short simulation of a small cell."""

NOT_ASKED = {physics.net_force, physics.nonconservativeness}
"""What a direct-force model does not promise: measured and reported all the same."""

NO_POLARIZATION = "a tensor head gives Born charges without a polarization"
LEFT_ON_A_LOOP = (
    f"{NO_POLARIZATION}: a field leaves this part of its work on atoms that move around a loop of "
    f"{response.RADIUS:g} Å and come back. head=polarization leaves none"
)


@dataclass(frozen=True)
class Finding:
    """One line of the table."""

    name: str
    status: str
    value: float | None
    unit: str
    tolerance: float
    remark: str = ""


@dataclass(frozen=True)
class CheckResult:
    """All findings on one model."""

    findings: list[Finding]
    structure: Atoms

    @property
    def ok(self) -> bool:
        """Whether nothing failed: the command line's exit status."""
        return all(finding.status != FAILED for finding in self.findings)


def check(
    checkpoint: str | Path | Potential,
    structure: str | Path | Atoms | None = None,
    repeat: Repeat = None,
    temperature: float = 300.0,
    timestep: float = 0.5,
    steps: int = 600,
    seed: int = 0,
    output: str | Path | None = None,
    device: str = "cpu",
) -> CheckResult:
    """Test a model against the laws of physics, in float64, and print a table of passed and failed.

    Symmetries, extensivity, forces and stress against finite differences, smoothness at the cutoff, isolated atoms,
    slabs, wires and molecules, and the drift of the energy in a short simulation. Of a direct-force model the net
    force and the asymmetry of its force Jacobian are reported: how far it is from any energy. Of a model with a
    response head also Born charges: their orientation, their sum, dP/dr, and the work that a field leaves on atoms
    that come back to where they were, zero with a polarization head and reported of a tensor head.

    Args:
        checkpoint: path or name of a trained model, or a potential.
        structure: any file that ASE reads, or atoms. By default bundled data of the model's elements, else a
            structure made up of them.
        repeat: supercell, one number or three.
        temperature: K, of the simulation.
        timestep: fs, of the simulation.
        steps: of the simulation.
        seed: of all random choices.
        output: JSON file for the findings.
        device: where the model runs.

    Raises:
        UnknownElementError: the structure holds an element that the model does not know.
    """
    potential = prepared(checkpoint, device, "float64")
    rng = np.random.default_rng(seed)
    atoms = load_structure(example_structure(potential, rng) if structure is None else structure, repeat)
    refuse_unfit(potential, [atoms])
    console = Console()
    with console.status("checking") as status:
        findings = []
        for law in _laws_for(potential, _drift_law(temperature, timestep, steps)):
            status.update(f"checking: {law.name}")
            findings.append(_finding(law, potential, atoms, rng))
    result = CheckResult(findings, atoms)
    _print(result, type(potential).__name__)
    if output is not None:
        write_json(Path(output), {"ok": result.ok, "findings": [asdict(finding) for finding in result.findings]})
    return result


def example_structure(potential: Potential, rng: np.random.Generator) -> Atoms:
    """A structure to test a model with: bundled data if the model knows the elements, else one made up.

    The latter is a skewed, rattled cubic lattice with all elements of the model on random sites, its nearest
    neighbors 1.2 times as far as the covalent radii say, relaxed a little by the model itself.
    """
    for name in bundled_names():
        atoms = load_structure(name)
        if set(atoms.numbers.tolist()) <= set(potential.elements):
            return atoms
    elements = np.array(potential.elements)
    edge = max(2, int(np.ceil(len(elements) ** (1.0 / 3.0))))
    numbers = np.resize(elements, edge**3)
    rng.shuffle(numbers)
    spacing = 2.4 * float(covalent_radii[elements].max())
    sites = np.stack(np.meshgrid(*[np.arange(edge)] * 3, indexing="ij"), axis=-1).reshape(-1, 3) * spacing
    skew = np.eye(3) + rng.uniform(-0.06, 0.06, (3, 3))
    atoms = Atoms(numbers, sites @ skew, cell=edge * spacing * skew, pbc=True)
    atoms.positions += rng.normal(scale=0.03 * spacing, size=atoms.positions.shape)
    return _settled(potential, atoms)


def _settled(potential: Potential, atoms: Atoms, steps: int = 60) -> Atoms:
    """The structure after some steps of relaxation; as it was, if the model tears it apart."""
    settled = atoms.copy()
    settled.calc = Calculator(potential, device=str(potential.device), dtype="float64")
    dynamics = minimizer(settled, physics.has_energy(potential), 0.0, "fire")
    try:
        dynamics.run(fmax=0.1, steps=steps)
    except GnnpotError:
        return atoms
    settled.calc = None
    whole = np.isfinite(settled.positions).all() and 0.3 < settled.get_volume() / atoms.get_volume() < 5.0
    return settled if whole else atoms


def _drift_law(temperature: float, timestep: float, steps: int) -> Law:
    def drift(potential: Potential, atoms: Atoms, rng: np.random.Generator) -> float:
        return physics.nve_drift(potential, atoms, rng, temperature, steps, timestep)

    name = f"energy drift, NVE {steps * timestep / 1000.0:g} ps"
    return Law(name, drift, "meV/atom/ps", DRIFT_TOLERANCE, needs_energy=True)


def _laws_for(potential: Potential, drift: Law) -> tuple[Law, ...]:
    """The laws of what a model gives, in the order of the table."""
    available = available_properties(potential.outputs)
    of_forces = (*LAWS, drift) if "forces" in available else ()
    return (*of_forces, *(RESPONSE_LAWS if BORN.name in available else ()))


def _finding(law: Law, potential: Potential, atoms: Atoms, rng: np.random.Generator) -> Finding:
    reason = _reason_to_skip(law, potential, atoms)
    if reason is not None:
        return Finding(law.name, SKIPPED, None, law.unit, law.tolerance, reason)
    try:
        value = law.measure(potential, atoms, rng)
    except GnnpotError as error:
        return Finding(law.name, FAILED, None, law.unit, law.tolerance, str(error))
    if not physics.has_energy(potential) and law.measure in NOT_ASKED:
        return Finding(law.name, REPORTED, value, law.unit, law.tolerance, "not promised by a direct-force model")
    if law.measure is response.work_on_a_loop and POLARIZATION.name not in potential.outputs:
        return Finding(law.name, REPORTED, value, law.unit, law.tolerance, LEFT_ON_A_LOOP)
    return Finding(law.name, PASSED if value <= law.tolerance else FAILED, value, law.unit, law.tolerance)


def _reason_to_skip(law: Law, potential: Potential, atoms: Atoms) -> str | None:
    """Why a law says nothing of this model or this structure; None where it does."""
    if law.needs_energy and not physics.has_energy(potential):
        return "a direct-force model has no energy"
    if law.needs_polarization and POLARIZATION.name not in potential.outputs:
        return NO_POLARIZATION
    if law.needs_volume and not atoms.pbc.all():
        return f"no stress: pbc is {atoms.pbc.tolist()}"
    if law.needs_void and potential.takes_charge:
        return "charge: true asks for three periodic directions"
    return None


def _print(result: CheckResult, model: str) -> None:
    """The table, and under it why laws were skipped, reported or not measured."""
    colors = {PASSED: "green", FAILED: "bold red", SKIPPED: "dim", REPORTED: "yellow"}
    table = Table("law", "deviation", "tolerance", "unit", "result", box=SIMPLE_HEAD, pad_edge=False)
    table.columns[1].justify = table.columns[2].justify = "right"
    for f in result.findings:
        value = "–" if f.value is None else f"{f.value:.1e}" if f.value else "0"
        table.add_row(f.name, value, f"{f.tolerance:.0e}", f.unit, Text(f.status, style=colors[f.status]))
    console = Console()
    console.print(table)
    for reason in dict.fromkeys(f"{f.status}: {f.remark}" for f in result.findings if f.remark):
        say(console, reason)
    counts = Counter(f.status for f in result.findings)
    summary = ", ".join(f"{counts[status]} {status}" for status in colors if counts[status])
    symbols = ", ".join(chemical_symbols[z] for z in sorted(set(result.structure.numbers.tolist())))
    say(console, f"{model} on {len(result.structure)} atoms of {symbols}: {summary}")

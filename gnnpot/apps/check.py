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
from gnnpot.apps.calculator import Calculator, prepared
from gnnpot.apps.evaluate import write_json
from gnnpot.apps.relax import minimizer
from gnnpot.apps.structures import Repeat, load_structure
from gnnpot.data.bundled import bundled_names
from gnnpot.errors import GnnpotError
from gnnpot.models.potential import Potential
from gnnpot.models.prediction import refuse_unfit
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
"""All laws but the conservation of energy, in the order of the table."""

DRIFT_TOLERANCE = 1.0
"""meV/atom/ps, over a short simulation of a small cell."""

NOT_ASKED = {physics.net_force, physics.nonconservativeness}
"""What a direct-force model does not promise: measured and reported all the same."""


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
    force and the asymmetry of its force Jacobian are reported: how far it is from any energy.

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
        for law in (*LAWS, _drift_law(temperature, timestep, steps)):
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


def _finding(law: Law, potential: Potential, atoms: Atoms, rng: np.random.Generator) -> Finding:
    direct = not physics.has_energy(potential)
    if law.needs_energy and direct:
        return Finding(law.name, SKIPPED, None, law.unit, law.tolerance, "a direct-force model has no energy")
    if law.needs_volume and not atoms.pbc.all():
        return Finding(law.name, SKIPPED, None, law.unit, law.tolerance, f"no stress: pbc is {atoms.pbc.tolist()}")
    if law.needs_void and potential.takes_charge:
        remark = "charge: true asks for three periodic directions"
        return Finding(law.name, SKIPPED, None, law.unit, law.tolerance, remark)
    try:
        value = law.measure(potential, atoms, rng)
    except GnnpotError as error:
        return Finding(law.name, FAILED, None, law.unit, law.tolerance, str(error))
    if direct and law.measure in NOT_ASKED:
        return Finding(law.name, REPORTED, value, law.unit, law.tolerance, "not promised by a direct-force model")
    return Finding(law.name, PASSED if value <= law.tolerance else FAILED, value, law.unit, law.tolerance)


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

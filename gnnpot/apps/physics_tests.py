"""What physics asks of every potential, each as one measurement: symmetries, derivatives, locality.

Every function takes a potential in float64 and a structure, and returns how far the potential is from the law: zero
but for rounding, in units of eV and Å. Energies are compared per atom; of several deviations the largest is returned.
`gnnpot.apps.check` puts them in a table; the contract tests call the same functions for every model.
"""

from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import Any, TypeVar

import numpy as np
from ase import Atoms

from gnnpot.apps.calculator import Calculator
from gnnpot.apps.ensembles import Ensemble, degrees_of_freedom, integrator, set_velocities
from gnnpot.apps.thermo import slope_after_first_tenth
from gnnpot.data.graph import collate, graph_from_atoms
from gnnpot.data.neighbors import FloatArray
from gnnpot.models.potential import Potential
from gnnpot.models.prediction import predict, predict_graph

Values = dict[str, Any]
"""Energy (float, eV), energies, forces and stress (3, 3), or forces alone."""

Generator = np.random.Generator
Quantity = TypeVar("Quantity", float, FloatArray)


def has_energy(potential: Potential) -> bool:
    """Whether the model is an energy, and its forces are derivatives."""
    return "energies" in potential.outputs


def values_of(potential: Potential, atoms: Atoms) -> Values:
    """All that the model gives for one structure; stress only where it is periodic in three directions."""
    return _with_volume(predict(potential, [bare(atoms)])[0], atoms)


def bare(atoms: Atoms) -> Atoms:
    """The structure without calculator, constraints and labels."""
    info = {"charge": atoms.info["charge"]} if "charge" in atoms.info else {}
    return Atoms(atoms.numbers, atoms.positions, cell=atoms.cell, pbc=atoms.pbc, info=info)


def rotation_error(potential: Potential, atoms: Atoms, rng: Generator) -> float:
    """E(Rr) = E(r), F(Rr) = R F(r), σ(Rr) = R σ(r) Rᵀ for a random rotation R of positions and cell."""
    return _orthogonal_error(potential, atoms, random_rotation(rng))


def reflection_error(potential: Potential, atoms: Atoms, rng: Generator) -> float:
    """The same for a rotation followed by the inversion: the cell becomes left-handed."""
    return _orthogonal_error(potential, atoms, -random_rotation(rng))


def translation_error(potential: Potential, atoms: Atoms, rng: Generator) -> float:
    """Nothing changes when all atoms are moved by one vector, also out of the cell."""
    moved = bare(atoms)
    moved.positions += rng.uniform(-20.0, 20.0, 3)
    return deviation(values_of(potential, moved), values_of(potential, atoms))


def permutation_error(potential: Potential, atoms: Atoms, rng: Generator) -> float:
    """Energies and forces follow their atoms when the atoms are numbered in another order."""
    order = rng.permutation(len(atoms))
    expected = values_of(potential, atoms)
    for name in {"energies", "forces"} & expected.keys():
        expected[name] = expected[name][order]
    return deviation(values_of(potential, bare(atoms)[order]), expected)


def lattice_shift_error(potential: Potential, atoms: Atoms, rng: Generator) -> float:
    """Nothing changes when one atom is moved by whole lattice vectors of the periodic directions."""
    moved = bare(atoms)
    images = np.where(atoms.pbc, rng.integers(1, 4, 3) * rng.choice([-1, 1], 3), 0)
    moved.positions[rng.integers(len(atoms))] += images @ atoms.cell.array
    return deviation(values_of(potential, moved), values_of(potential, atoms))


def supercell_error(potential: Potential, atoms: Atoms, rng: Generator) -> float:
    """A supercell has n times the energy (and charge), the forces of its cell, and the stress of its cell."""
    copies = tuple(2 if periodic else 1 for periodic in atoms.pbc)
    n = int(np.prod(copies))
    repeated = bare(atoms).repeat(copies)
    if "charge" in atoms.info:
        repeated.info["charge"] = n * atoms.info["charge"]
    expected = values_of(potential, atoms)
    for name in {"energies", "forces"} & expected.keys():
        expected[name] = np.concatenate([expected[name]] * n)
    if "energy" in expected:
        expected["energy"] *= n
    return deviation(values_of(potential, repeated), expected)


def batch_error(potential: Potential, atoms: Atoms, rng: Generator) -> float:
    """A structure gives the same alone and in a batch with others, smaller, larger and without cell."""
    cluster = bare(atoms)[: max(1, len(atoms) // 2)]
    cluster.pbc = atoms.pbc if potential.takes_charge else False
    shaken = bare(atoms)
    shaken.positions += rng.normal(scale=0.05, size=shaken.positions.shape)
    frames = [cluster, bare(atoms), shaken, shaken.repeat((2 if atoms.pbc[0] else 1, 1, 1))]
    graphs = [graph_from_atoms(frame, potential.cutoff) for frame in frames]
    wanted = ("energy", "energies", "forces", "stress") if has_energy(potential) else ("forces",)
    batch = predict_graph(potential, collate(graphs), wanted)
    pairs = zip(batch, frames, strict=True)
    return largest(deviation(_with_volume(found, frame), values_of(potential, frame)) for found, frame in pairs)


def force_derivative_error(potential: Potential, atoms: Atoms, rng: Generator, n_coordinates: int = 8) -> float:
    """F = -∂E/∂r by central differences of fourth order on some coordinates, over max(1 eV/Å, largest force)."""
    forces = values_of(potential, atoms)["forces"]
    chosen = rng.choice(3 * len(atoms), min(n_coordinates, 3 * len(atoms)), replace=False)

    def energy(coordinate: int, step: float) -> float:
        moved = bare(atoms)
        moved.positions[coordinate // 3, coordinate % 3] += step
        return float(values_of(potential, moved)["energy"])

    errors = [forces.ravel()[c] + central_difference(partial(energy, int(c)), 1e-3) for c in chosen]
    return largest(errors) / max(1.0, largest(forces))


def stress_derivative_error(potential: Potential, atoms: Atoms, rng: Generator) -> float:
    """σ = (1/|V|) ∂E/∂ε by central differences of fourth order in six strains, times the volume per atom, eV."""
    stress = values_of(potential, atoms)["stress"]
    volume = abs(atoms.get_volume())

    def energy(a: int, b: int, step: float) -> float:
        strain = np.zeros((3, 3))
        strain[a, b] += 0.5 * step
        strain[b, a] += 0.5 * step
        moved = bare(atoms)
        moved.set_cell(moved.cell.array @ (np.eye(3) + strain), scale_atoms=True)
        return float(values_of(potential, moved)["energy"])

    pairs = ((0, 0), (1, 1), (2, 2), (1, 2), (0, 2), (0, 1))
    errors = [stress[a, b] - central_difference(partial(energy, a, b), 2e-4) / volume for a, b in pairs]
    return largest([*errors, largest(stress - stress.T)]) * volume / len(atoms)


def cutoff_energy_jump(potential: Potential, atoms: Atoms, rng: Generator) -> float:
    """Jump of the energy per atom where a distance passes the cutoff (or the cutoff of triplets), eV/atom.

    The structure is dilated so that one of its distances is just inside, then just outside; what a straight line
    from further inside foretells does not count.
    """
    return largest(float(jump) / len(atoms) for jump in _jumps_at_cutoffs(potential, atoms, "energy"))


def cutoff_force_jump(potential: Potential, atoms: Atoms, rng: Generator) -> float:
    """Jump of a force there: the slope of the energy of an energy model, eV/Å."""
    return largest(largest(jump) for jump in _jumps_at_cutoffs(potential, atoms, "forces"))


def isolated_force(potential: Potential, atoms: Atoms, rng: Generator) -> float:
    """Largest force on an atom alone in space, over all elements, eV/Å."""
    singles = predict(potential, [Atoms(numbers=[z]) for z in potential.elements], ["forces"])
    return largest(largest(single["forces"]) for single in singles)


def isolated_energy_error(potential: Potential, atoms: Atoms, rng: Generator) -> float:
    """Energy of an atom alone in space less the reference energy of its element, over all elements, eV."""
    singles = predict(potential, [Atoms(numbers=[z]) for z in potential.elements], ["energy"])
    scale = getattr(potential, "energy_scale", None)
    references = np.zeros(len(singles)) if scale is None else scale.reference_energies.cpu().numpy()
    return largest(single["energy"] - reference for single, reference in zip(singles, references, strict=True))


def separation_error(potential: Potential, atoms: Atoms, rng: Generator) -> float:
    """Two clusters beyond the cutoff of each other give the sum of their energies, and their own forces."""
    cluster = bare(atoms)
    cluster.pbc = False
    alone = values_of(potential, cluster)
    other = cluster.copy()
    other.positions[:, 0] += np.ptp(cluster.positions[:, 0]) + 1.5 * potential.cutoff
    expected: Values = {name: np.concatenate([alone[name]] * 2) for name in ("energies", "forces") if name in alone}
    if "energy" in alone:
        expected["energy"] = 2.0 * alone["energy"]
    return deviation(values_of(potential, cluster + other), expected)


def partial_periodicity_error(potential: Potential, atoms: Atoms, rng: Generator) -> float:
    """A slab, a wire and a molecule give what they give in a fully periodic cell with wide vacuum."""
    errors = []
    for pbc in ((True, True, False), (True, False, False), (False, False, False)):
        open_ended = bare(atoms)
        open_ended.pbc = np.asarray(pbc) & atoms.pbc
        found = values_of(potential, open_ended)
        expected = values_of(potential, with_vacuum(open_ended, 1.5 * potential.cutoff))
        errors.append(deviation(found, {name: expected[name] for name in found}))
    return largest(errors)


def with_vacuum(atoms: Atoms, vacuum: float) -> Atoms:
    """The same atoms in a cell that is periodic in three directions, with vacuum where they were not."""
    filled = bare(atoms)
    kept = atoms.cell.array[atoms.pbc]
    normals = np.linalg.svd(kept, full_matrices=True)[2][len(kept) :] if len(kept) else np.eye(3)
    cell = atoms.cell.array.copy()
    cell[~atoms.pbc] = [(np.ptp(atoms.positions @ n) + vacuum) * n for n in normals]
    filled.set_cell(cell)
    filled.pbc = True
    return filled


def net_force(potential: Potential, atoms: Atoms, rng: Generator) -> float:
    """|Σ_i F_i| / N, eV/Å: zero where a translation changes nothing."""
    return float(np.linalg.norm(values_of(potential, atoms)["forces"].mean(axis=0)))


def nonconservativeness(potential: Potential, atoms: Atoms, rng: Generator, n_atoms: int = 5) -> float:
    """`jacobian_asymmetry` of the forces of a potential."""

    def forces_of(frames: list[Atoms]) -> list[FloatArray]:
        return [values["forces"] for values in predict(potential, frames, ["forces"])]

    return jacobian_asymmetry(forces_of, atoms, rng, n_atoms)


def jacobian_asymmetry(
    forces_of: Callable[[list[Atoms]], list[FloatArray]], atoms: Atoms, rng: Generator, n_atoms: int = 5
) -> float:
    """‖J - Jᵀ‖ / ‖J‖ of the force Jacobian J = ∂F/∂r of some atoms: zero for the gradient of an energy.

    J by central differences; ‖·‖ is Frobenius'. For a random matrix it is about √2.
    """
    chosen = rng.choice(len(atoms), min(n_atoms, len(atoms)), replace=False)
    step = 1e-4
    frames = []
    for atom in chosen:
        for axis in range(3):
            for sign in (1.0, -1.0):
                frame = bare(atoms)
                frame.positions[atom, axis] += sign * step
                frames.append(frame)
    forces = [values[chosen].ravel() for values in forces_of(frames)]
    jacobian = np.array([(plus - minus) / (2.0 * step) for plus, minus in zip(forces[::2], forces[1::2], strict=True)])
    norm = float(np.linalg.norm(jacobian))
    return float(np.linalg.norm(jacobian - jacobian.T)) / norm if norm > 0.0 else 0.0


def nve_drift(
    potential: Potential,
    atoms: Atoms,
    rng: Generator,
    temperature: float = 300.0,
    steps: int = 300,
    timestep: float = 1.0,
) -> float:
    """`energy_drift` of an energy model, in float64."""
    calculator = Calculator(potential, device=str(potential.device), dtype="float64")
    return energy_drift(calculator, atoms, rng, temperature, steps, timestep)


def energy_drift(
    calculator: Any, atoms: Atoms, rng: Generator, temperature: float, steps: int, timestep: float
) -> float:
    """Slope of the total energy per atom in velocity-Verlet dynamics after its first tenth, meV/atom/ps.

    Args:
        calculator: any that gives energy and forces.
        atoms: the start, repeated to at least eight atoms where it is periodic.
        rng: of the velocities.
        temperature: of the first velocities, K.
        steps: number of steps.
        timestep: fs.
    """
    walk = nve_walk(calculator, atoms, rng, temperature, steps, timestep)
    energies = [walkers.get_total_energy() / len(walkers) for walkers in walk]
    slope = slope_after_first_tenth([k * timestep / 1000.0 for k in range(len(energies))], energies)
    return float("nan") if slope is None else abs(slope)


def nve_walk(
    calculator: Any, atoms: Atoms, rng: Generator, temperature: float, steps: int, timestep: float
) -> Iterator[Atoms]:
    """The same atoms at the start of velocity-Verlet dynamics and after each step; arguments as of `energy_drift`."""
    copies = 2 if len(atoms) < 8 else 1
    walkers = bare(atoms).repeat([copies if periodic else 1 for periodic in atoms.pbc])
    walkers.calc = calculator
    n_free = degrees_of_freedom(walkers, keeps_rotation=True)
    set_velocities(walkers, temperature, n_free, rng)
    settings = Ensemble("nve", temperature, 0.0, timestep, "bussi", 100.0, 1000.0, True)
    dynamics = integrator(walkers, settings, n_free, rng)
    for _ in dynamics.irun(steps):
        yield walkers


def deviation(found: Values, expected: Values) -> float:
    """Largest difference of two results: energy per atom, atomic energies, forces, stress (eV, Å)."""
    differences = [
        np.asarray(found[name] - expected[name]) for name in ("energies", "forces", "stress") if name in expected
    ]
    if "energy" in expected:
        differences.append(np.asarray(found["energy"] - expected["energy"]) / len(expected["forces"]))
    return largest(largest(difference) for difference in differences)


def largest(values: Iterable[float] | FloatArray | np.floating[Any]) -> float:
    """Largest magnitude; NaN if any is NaN, 0 of nothing.

    >>> largest([1.0, -2.0]), largest([])
    (2.0, 0.0)
    """
    array = np.asarray(values if hasattr(values, "__array__") else list(values), dtype=np.float64)
    return float(np.abs(array).max(initial=0.0))


def random_rotation(rng: Generator) -> FloatArray:
    """Rotation matrix, uniform over all rotations."""
    orthogonal, triangular = np.linalg.qr(rng.normal(size=(3, 3)))
    orthogonal = orthogonal * np.sign(np.diag(triangular))
    return orthogonal * np.linalg.det(orthogonal)


def _orthogonal_error(potential: Potential, atoms: Atoms, matrix: FloatArray) -> float:
    turned = bare(atoms)
    turned.set_cell(atoms.cell.array @ matrix.T)
    turned.positions = atoms.positions @ matrix.T
    expected = values_of(potential, atoms)
    expected["forces"] = expected["forces"] @ matrix.T
    if "stress" in expected:
        expected["stress"] = matrix @ expected["stress"] @ matrix.T
    return deviation(values_of(potential, turned), expected)


def central_difference(function: Callable[[float], Quantity], step: float) -> Quantity:
    """Slope at zero by a central difference of fourth order."""
    near, far = function(step) - function(-step), function(2.0 * step) - function(-2.0 * step)
    return (8.0 * near - far) / (12.0 * step)


def _jumps_at_cutoffs(
    potential: Potential, atoms: Atoms, name: str, n_distances: int = 3, step: float = 1e-7
) -> list[FloatArray]:
    """f(r_c + h) - 2 f(r_c - h) + f(r_c - 3h), for the distances that need the least dilation."""
    jumps = []
    for radius in {potential.cutoff, float(getattr(potential, "triplet_cutoff", None) or potential.cutoff)}:
        for distance in _distances_near(atoms, radius)[:n_distances]:
            sides = [_dilated(atoms, (radius + k * step) / distance) for k in (1, -1, -3)]
            outside, inside, further = (np.asarray(v[name]) for v in predict(potential, sides, [name]))
            jumps.append(outside - 2.0 * inside + further)
    return jumps


def _distances_near(atoms: Atoms, radius: float) -> FloatArray:
    """Distances between atoms, those nearest to ``radius`` first, equal ones once."""
    reach = 1.3 * radius if atoms.pbc.any() else max(1.3 * radius, 2.0 * np.ptp(atoms.positions, axis=0).sum())
    graph = graph_from_atoms(bare(atoms), reach)
    vectors = graph.positions[graph.neighbors] - graph.positions[graph.centers] + graph.edge_shifts @ graph.cell[0]
    distances = np.sort(vectors.norm(dim=1).numpy())
    distinct = distances[np.diff(distances, prepend=0.0) > 1e-3]
    return distinct[np.argsort(np.abs(np.log(distinct / radius)))]


def _dilated(atoms: Atoms, factor: float) -> Atoms:
    dilated = bare(atoms)
    dilated.set_cell(atoms.cell.array * factor)
    dilated.positions = atoms.positions * factor
    return dilated


def _with_volume(values: Values, atoms: Atoms) -> Values:
    """The values without the stress of a structure that has no volume."""
    return {name: value for name, value in values.items() if name != "stress" or atoms.pbc.all()}

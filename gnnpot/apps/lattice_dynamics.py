"""Lattice dynamics by finite displacements: phonopy with the forces of a function.

Frequencies are in THz; an imaginary one is written as a negative number, as everywhere in the field. q points are in
coordinates of the reciprocal vectors of the primitive cell.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from ase import Atoms
from ase.cell import Cell
from ase.dft.kpoints import parse_path_string
from numpy.typing import NDArray

from gnnpot.errors import ConfigError
from gnnpot.keys import COULOMB_CONSTANT

FloatArray = NDArray[np.float64]
DIRECTIONS = {"x": (1.0, 0.0, 0.0), "y": (0.0, 1.0, 0.0), "z": (0.0, 0.0, 1.0)}


@dataclass(frozen=True)
class Band:
    """Frequencies on the straight line between two special points."""

    start: str
    end: str
    q: FloatArray
    """``(n_points, 3)``."""
    distances: FloatArray
    """Length of the path so far, Å⁻¹ (without 2π), ``(n_points,)``."""
    frequencies: FloatArray
    """THz, ``(n_points, n_modes)``."""


@dataclass(frozen=True)
class GammaModes:
    """Modes at Γ."""

    frequencies: FloatArray
    """THz, ``(n_modes,)``."""
    eigenvectors: NDArray[np.complex128]
    """Columns, ``(n_modes, n_modes)``."""


def phonopy_cell(atoms: Atoms) -> Any:
    """The structure in phonopy's form, with the masses of ASE."""
    from phonopy.structure.atoms import PhonopyAtoms

    return PhonopyAtoms(
        symbols=atoms.get_chemical_symbols(),
        cell=atoms.cell.array,
        scaled_positions=atoms.get_scaled_positions(wrap=False),
        masses=atoms.get_masses(),
    )


def ase_atoms(cell: Any) -> Atoms:
    """A cell of phonopy as fully periodic atoms."""
    return Atoms(cell.symbols, cell=cell.cell, scaled_positions=cell.scaled_positions, masses=cell.masses, pbc=True)


def supercell_matrix(supercell: int | Sequence[int] | Sequence[Sequence[int]]) -> NDArray[np.int64]:
    """Matrix of a supercell given by 1, 3 or 9 whole numbers.

    >>> supercell_matrix([1, 2, 3]).diagonal().tolist()
    [1, 2, 3]

    Raises:
        ConfigError: another count, fractions, or a matrix without volume.
    """
    numbers = np.array(supercell, dtype=np.float64).ravel()
    if numbers.size not in (1, 3, 9) or not np.array_equal(numbers, numbers.round()):
        raise ConfigError(f"supercell={supercell}: give one whole number, three as supercell=[2,2,2], or nine")
    matrix = numbers.reshape(3, 3) if numbers.size == 9 else np.diag(np.broadcast_to(numbers, 3))
    if np.linalg.det(matrix) < 0.5 or (numbers.size < 9 and numbers.min() < 1):
        raise ConfigError(f"supercell={supercell}: the supercell must hold the structure at least once")
    return matrix.astype(np.int64)


def lattice(atoms: Atoms, matrix: NDArray[np.int64], displacement: float, symprec: float) -> Any:
    """A ``Phonopy`` of the structure, its primitive cell found by symmetry, with its displacements."""
    from phonopy import Phonopy
    from phonopy.structure.cells import guess_primitive_matrix

    cell = phonopy_cell(atoms)
    primitive = guess_primitive_matrix(cell, symprec=symprec)
    crystal = Phonopy(cell, supercell_matrix=matrix, primitive_matrix=primitive, symprec=symprec, log_level=0)
    crystal.generate_displacements(distance=displacement)
    return crystal


def space_group(crystal: Any, symprec: float) -> str:
    """Symbol and number of the space group within another tolerance, Å."""
    from phonopy.structure.symmetry import Symmetry

    return str(Symmetry(crystal.unitcell, symprec=symprec).get_international_table())


def learn_force_constants(crystal: Any, forces_of: Callable[[Atoms], FloatArray]) -> float:
    """Displace atoms, take forces, set symmetrized force constants; how asymmetric they were.

    The asymmetry is the root mean square of Φ - Φᵀ over that of Φ, before it is removed: for second derivatives of an
    energy it is as small as displacements and symmetry make it, for forces that are no gradient it is not.
    """
    crystal.forces = [forces_of(ase_atoms(cell)) for cell in crystal.supercells_with_displacements]
    crystal.produce_force_constants(show_drift=False)
    found = np.asarray(crystal.force_constants)
    transposed = found.transpose(1, 0, 3, 2)
    asymmetry = float(np.sqrt(np.mean((found - transposed) ** 2) / np.mean(found**2)))
    crystal.symmetrize_force_constants(show_drift=False)
    return asymmetry


def set_correction(crystal: Any, born: FloatArray | None, dielectric: FloatArray | None) -> None:
    """Switch the non-analytical correction on, or off with None (Gonze and Lee, PRB 55, 10355 (1997))."""
    if born is None or dielectric is None:
        crystal.nac_params = None
        return
    crystal.nac_params = {
        "born": born,
        "dielectric": dielectric,
        "factor": COULOMB_CONSTANT,
        "method": "gonze",
    }


def gamma_modes(crystal: Any, direction: Sequence[float] | None = None) -> GammaModes:
    """Modes at Γ; with the correction, those for q → 0 along a Cartesian direction."""
    along = None if direction is None else np.asarray(crystal.primitive.cell) @ np.asarray(direction)
    found = crystal.run_qpoints([[0.0, 0.0, 0.0]], with_eigenvectors=True, nac_q_direction=along)
    return GammaModes(np.asarray(found.frequencies[0]), np.asarray(found.eigenvectors[0]))


def without_field(modes: GammaModes, plain: GammaModes) -> FloatArray:
    """Frequencies that modes in the field of polar ones would have without it, THz, ``(n_modes,)``.

    √(e†De), D the dynamical matrix of ``plain`` and e the eigenvectors of ``modes``: what a mode rises by is then its
    own, whichever of the others it passes by.

    >>> plain = GammaModes(np.array([5.0, 6.0]), np.eye(2) + 0j)
    >>> without_field(GammaModes(np.array([6.0, 8.0]), np.eye(2)[:, ::-1] + 0j), plain).tolist()
    [6.0, 5.0]
    """
    shares = np.abs(plain.eigenvectors.conj().T @ modes.eigenvectors) ** 2
    squares = (np.sign(plain.frequencies) * plain.frequencies**2) @ shares
    return np.asarray(np.sign(squares) * np.sqrt(np.abs(squares)))


def band_path(primitive: Atoms, n_points: int) -> list[tuple[str, str, FloatArray]]:
    """Lines between the special points of the primitive lattice: names of both ends, q points ``(n_points, 3)``.

    The path is that of Setyawan and Curtarolo, Comput. Mater. Sci. 49, 299 (2010), as ASE has it.
    """
    cell = primitive.cell.array
    right_handed = Cell(cell if np.linalg.det(cell) > 0 else -cell)
    path = right_handed.bandpath(npoints=0)
    lines = []
    for names in parse_path_string(path.path):
        for start, end in pairwise(names):
            a, b = path.special_points[start], path.special_points[end]
            lines.append((start, end, np.linspace(a, b, n_points)))
    return lines


def bands(crystal: Any, lines: Sequence[tuple[str, str, FloatArray]]) -> list[Band]:
    """Frequencies on the lines of a path."""
    found = crystal.run_band_structure([q for _, _, q in lines])
    rows = zip(lines, found.distances, found.frequencies, strict=True)
    return [Band(a, b, q, np.asarray(d), np.asarray(f)) for (a, b, q), d, f in rows]


def density_of_states(crystal: Any, mesh: float) -> tuple[FloatArray, FloatArray, tuple[int, ...]]:
    """Frequencies (THz), states per THz and primitive cell, and the mesh of q points (linear tetrahedra)."""
    found = crystal.run_mesh(mesh)
    density = crystal.run_total_dos()
    return np.asarray(density.frequency_points), np.asarray(density.dos), tuple(int(n) for n in found.mesh_numbers)


def thermal_properties(crystal: Any, t_max: float, t_step: float) -> dict[str, list[float]]:
    """Harmonic free energy, entropy and heat capacity per mole of primitive cells; unstable modes are left out.

    The mesh of `density_of_states` is used.
    """
    found = crystal.run_thermal_properties(
        t_min=0.0, t_max=t_max, t_step=t_step, cutoff_frequency=1e-3, exclude_gamma_acoustic=True
    )
    columns = {
        "temperatures_K": found.temperatures,
        "free_energy_kJ_per_mol": found.free_energy,
        "entropy_J_per_K_per_mol": found.entropy,
        "heat_capacity_J_per_K_per_mol": found.heat_capacity,
    }
    return {name: np.asarray(values).tolist() for name, values in columns.items()}

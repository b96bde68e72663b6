"""VASP's vaspout.h5 (6.3 and later): ionic steps, and the Born charges and dielectric tensor of the last one.

Lengths are in Å, energies in eV, forces in eV/Å, stress in kbar and positive under compression. Born charges lie there
force first, transposed against OUTCAR and vasprun.xml of the same calculation, and are turned field first here.
"""

import warnings
from collections.abc import Iterator
from pathlib import Path

import h5py
import numpy as np
from ase import Atoms, units
from ase.calculators.singlepoint import SinglePointCalculator

from gnnpot.data.readers.sources import open_binary
from gnnpot.data.readers.vasp import warn_of_state
from gnnpot.errors import DataError, DataWarning

HDF5_MAGIC = b"\x89HDF\r\n\x1a\n"

_FREE_ENERGY = ("free energy    TOTEN", "ion-electron   TOTEN")
"""Names of the free energy in the table of energies; the second one in molecular dynamics."""

_SIGMA0 = "energy(sigma->0)"
_STEPS = "intermediate/ion_dynamics"
_RESPONSE = "results/linear_response"


def read_vaspout(path: Path) -> Iterator[Atoms]:
    """All complete ionic steps.

    Warns (:class:`DataWarning`) of a last step that was not written and of steps that are not converged.
    """
    try:
        with open_binary(path) as file, h5py.File(file, "r") as tables:
            frames = _frames(path, tables)
            _add_response(path, frames, tables)
    except KeyError as error:
        raise DataError(f"{path} is no vaspout.h5 of VASP 6.3 or later, or is cut off: {error.args[0]}") from error
    except (OSError, ValueError) as error:
        raise DataError(f"{path} is damaged or cut off: {error}") from error
    yield from frames


def _frames(path: Path, tables: h5py.File) -> list[Atoms]:
    steps = tables[_STEPS]
    energies, forces = steps["energies"][:], steps["forces"][:]
    n_written = sum(1 for e, f in zip(energies, forces, strict=True) if e.any() or f.any())
    if n_written == 0:
        raise DataError(f"{path} ends before its first ionic step: there is nothing to read")
    unconverged = np.flatnonzero(steps.get("electronic_step_converged", [0]))
    warn_of_state(path, n_written == len(energies), unconverged.tolist())
    names = [name.decode().strip() for name in steps["energies_tags"][:]]
    free = next((k for k, name in enumerate(names) if name in _FREE_ENERGY), None)
    if free is None:
        raise DataError(f"{path} has no free energy among its energies ({', '.join(names)}): it is of another method")
    symbols = _symbols(tables["results/positions" if "results/positions" in tables else "input/poscar"])
    scale = float(steps["scale"][()])
    if scale <= 0.0:
        raise DataError(f"{path} scales its lattice by {scale:g}, a volume: read the OUTCAR of the same run")
    lattices = scale * steps["lattice_vectors"][:]
    frames = []
    for k in range(n_written):
        atoms = Atoms(symbols, cell=lattices[k], scaled_positions=steps["position_ions"][k], pbc=True)
        results = {"energy": float(energies[k, free]), "forces": forces[k]}
        if "stress" in steps:
            results["stress"] = -0.1 * units.GPa * steps["stress"][k].ravel()[[0, 4, 8, 5, 2, 1]]
        atoms.calc = SinglePointCalculator(atoms, **results)
        if _SIGMA0 in names:
            atoms.info["energy_sigma0"] = float(energies[k, names.index(_SIGMA0)])
        frames.append(atoms)
    return frames


def _symbols(poscar: h5py.Group) -> list[str]:
    """Of all atoms, in order."""
    kinds, counts = poscar["ion_types"][:], poscar["number_ion_types"][:]
    return [kind.decode().strip() for kind, count in zip(kinds, counts, strict=True) for _ in range(count)]


def _add_response(path: Path, frames: list[Atoms], tables: h5py.File) -> None:
    """Born charges, field first, and the electronic dielectric tensor, to the structure that they belong to."""
    response = tables.get(_RESPONSE, {})
    ibrion = int(tables["input/incar/IBRION"][()]) if "input/incar/IBRION" in tables else -1
    if "born_charges" in response and ibrion in (7, 8):
        warnings.warn(
            f"{path} is of IBRION={ibrion}, for which VASP does not say whether Born charges lie field first: they are"
            " taken as force first, as elsewhere in vaspout.h5. Compare them with LEPSILON=.TRUE. and IBRION=-1",
            DataWarning,
            stacklevel=3,
        )
    if "born_charges" in response:
        frames[-1].calc.results["born_effective_charges"] = np.swapaxes(response["born_charges"][:], -1, -2)
    if "electron_dielectric_tensor" in response:
        frames[-1].calc.results["dielectric_tensor"] = response["electron_dielectric_tensor"][:]

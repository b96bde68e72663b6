"""JSON of pymatgen structures with labels: CHGNet's, MPtrj's, MatPES's, and lists or dictionaries like them.

The energy is ``uncorrected_total_energy`` where there is one (forces belong to it; MPtrj's ``energy_per_atom``
carries the corrections of the Materials Project), else ``energy``, else ``energy_per_atom`` times n_atoms.

The structure dictionaries are read here, field by field: pymatgen's own decoder imports whatever module a file
names, and nothing that a user loads may run code. Stress in these files is VASP's: kbar, compression positive.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms
from ase.data import atomic_numbers

from gnnpot.data.readers.sources import open_text
from gnnpot.errors import DataError

STATED_UNITS = {"stress": "kbar", "stress_sign": "vasp"}

_DEUTERIUM_AND_TRITIUM = {"D": "H", "T": "H"}


def read_structure_json(path: Path) -> Iterator[Atoms]:
    """Frames of a JSON file of ``{structure, energy | energy_per_atom | uncorrected_total_energy, force, ...}``.

    One such entry, a list of them, a dictionary of lists (one per field), or dictionaries of entries nested to
    any depth, as in MPtrj. Fields other than the structure become columns of the frame.

    Raises :class:`DataError` for broken JSON, partly occupied sites, and a file without any structure.
    """
    entries = _entries(load_json(path), ())
    n_found = 0
    for n_found, (keys, entry) in enumerate(entries, start=1):
        where = f"{path}, frame {n_found - 1}" + (f" ({'/'.join(keys)})" if keys else "")
        atoms = structure_atoms(entry["structure"], where)
        atoms.info["json_key"] = "/".join(keys)
        for name, value in entry.items():
            if name != "structure" and value is not None:
                _add_field(atoms, name, value)
        yield atoms
    if n_found == 0:
        raise DataError(f"{path} holds no 'structure': expected entries of {{structure, energy, force, stress}}")


def load_json(path: Path) -> Any:
    """Content of a JSON file, compressed or not."""
    with open_text(path) as file:
        try:
            return json.load(file)
        except json.JSONDecodeError as error:
            raise DataError(f"{path} is no valid JSON, or cut off: {error}") from error


def _entries(node: Any, keys: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], dict[str, Any]]]:
    """Entries below a node, each with the dictionary keys that lead to it."""
    if isinstance(node, list):
        for item in node:
            yield from _entries(item, keys)
    elif isinstance(node, dict) and isinstance(node.get("structure"), list):
        yield from ((keys, row) for row in _rows(node, keys))
    elif isinstance(node, dict) and isinstance(node.get("structure"), dict):
        yield keys, node
    elif isinstance(node, dict) and "sites" in node:
        yield keys, {"structure": node}
    elif isinstance(node, dict):
        for key, value in node.items():
            yield from _entries(value, (*keys, str(key)))


def _rows(columns: dict[str, Any], keys: tuple[str, ...]) -> Iterator[dict[str, Any]]:
    """Entries of a dictionary of lists."""
    n_rows = len(columns["structure"])
    for name, column in columns.items():
        if isinstance(column, list) and len(column) != n_rows:
            raise DataError(f"JSON{'/'.join(('', *keys))}: {len(column)} values of '{name}' for {n_rows} structures")
    lists = {name: column for name, column in columns.items() if isinstance(column, list)}
    for row in range(n_rows):
        yield {name: column[row] for name, column in lists.items()}


def structure_atoms(structure: dict[str, Any], where: str) -> Atoms:
    """Atoms of a pymatgen ``Structure`` or ``Molecule`` dictionary.

    Raises :class:`DataError`, naming ``where``, for missing parts, partly occupied sites and unknown elements.
    """
    try:
        lattice = structure.get("lattice")
        symbols = [_symbol(site, where) for site in structure["sites"]]
        cell = np.array(lattice["matrix"], dtype=float) if lattice else np.zeros((3, 3))
        if all("abc" in site for site in structure["sites"]) and lattice:
            positions = np.array([site["abc"] for site in structure["sites"]], dtype=float) @ cell
        else:
            positions = np.array([site["xyz"] for site in structure["sites"]], dtype=float)
        pbc = lattice.get("pbc", [True] * 3) if lattice else False
        atoms = Atoms(symbols, positions=positions, cell=cell, pbc=pbc)
    except (KeyError, TypeError, ValueError) as error:
        raise DataError(f"{where}: not a pymatgen structure ({error!r} is missing or wrong)") from error
    if structure.get("charge") is not None:
        atoms.info["charge"] = float(structure["charge"])
    return atoms


def _add_field(atoms: Atoms, name: str, value: Any) -> None:
    """A field of an entry as a column of the frame."""
    if not _is_numeric_list(value):
        atoms.info[name] = value
    elif name in ("magmom", "magmoms") and len(value) == len(atoms):
        atoms.arrays["magmoms"] = np.array(value, dtype=float)
    else:
        atoms.info[name] = np.array(value)


def _symbol(site: dict[str, Any], where: str) -> str:
    species = site["species"]
    if len(species) != 1 or float(species[0].get("occu", 1)) != 1.0:
        raise DataError(f"{where}: the site {site.get('label', species)} is partly occupied; order the structure")
    element = str(species[0]["element"])
    symbol = _DEUTERIUM_AND_TRITIUM.get(element, element)
    if symbol not in atomic_numbers:
        raise DataError(f"{where}: unknown element symbol '{element}'")
    return symbol


def _is_numeric_list(value: Any) -> bool:
    """Whether a JSON value is a regular nested list of numbers."""
    if not isinstance(value, list):
        return False
    try:
        return np.array(value).dtype.kind in "iuf"
    except ValueError:
        return False

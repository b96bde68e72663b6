"""Records of the published layouts of Materials Project data, small enough to be checked by hand."""

from typing import Any

KBAR = [[16.02176634, 1.0, 2.0], [1.0, -32.04353268, 3.0], [2.0, 3.0, 8.01088317]]
"""Compression positive; 1602.176634 kbar are 1 eV/Å³."""
FORCES = [[0.5, -0.25, 0.125], [-0.5, 0.25, -0.125]]


def structure(a: float = 4.0, elements: tuple[str, str] = ("Li", "F")) -> dict[str, Any]:
    """A cell of two atoms as pymatgen writes it."""
    sites = [
        {
            "species": [{"element": element, "occu": 1}],
            "abc": [x, x, x],
            "xyz": [x * a, x * a, x * a],
            "label": element,
            "properties": {},
        }
        for element, x in zip(elements, (0.0, 0.5), strict=True)
    ]
    matrix = [[a, 0, 0], [0, a, 0], [0, 0, a]]
    lattice = {"matrix": matrix, "pbc": [True, True, True], "a": a, "b": a, "c": a}
    return {
        "@module": "pymatgen.core.structure",
        "@class": "Structure",
        "charge": 0,
        "lattice": lattice,
        "sites": sites,
    }


def mptrj_entry(number: int, **changes: Any) -> dict[str, Any]:
    """A frame of MPtrj: uncorrected -11.5 eV, corrected -12.25 eV, both a little lower for later frames."""
    entry = {
        "structure": structure(4.0 + 0.01 * number),
        "uncorrected_total_energy": -11.5 - 0.25 * number,
        "corrected_total_energy": -12.25 - 0.25 * number,
        "energy_per_atom": -6.125 - 0.125 * number,
        "ef_per_atom": -2.0,
        "e_per_atom_relaxed": -6.5,
        "ef_per_atom_relaxed": -2.5,
        "force": FORCES,
        "stress": KBAR,
        "magmom": [0.5, -0.25],
        "bandgap": 8.5,
        "mp_id": "mp-1138",
    }
    return entry | changes


def mptrj(n_materials: int, n_frames: int = 3) -> dict[str, Any]:
    """A file of MPtrj."""
    return {
        f"mp-{k}": {f"mp-{k}-0-{step}": mptrj_entry(step + 10 * k) for step in range(n_frames)}
        for k in range(n_materials)
    }


def matpes_entry(functional: str = "PBE", **changes: Any) -> dict[str, Any]:
    """An entry of MatPES; its six numbers of stress are xx, yy, zz, yz, xz, xy."""
    entry = {
        "matpes_id": "matpes-20240214_999484_73",
        "functional": functional,
        "structure": structure(),
        "energy": -11.5,
        "forces": FORCES,
        "stress": [16.02176634, -32.04353268, 8.01088317, 3.0, 2.0, 1.0],
        "cohesive_energy_per_atom": -4.25,
        "formation_energy_per_atom": None,
        "bandgap": 8.5,
        "nsites": 2,
        "provenance": {"original_mp_id": "mp-1138", "md_temperature": 300},
    }
    return entry | changes


def mpf_entry(n_steps: int = 2) -> dict[str, Any]:
    """A material of MPF.2021.2.8 as JSON."""
    return {
        "structure": [structure(4.0 + 0.01 * k) for k in range(n_steps)],
        "energy": [-11.5 - 0.25 * k for k in range(n_steps)],
        "force": [FORCES] * n_steps,
        "stress": [KBAR] * n_steps,
        "id": [f"mp-1138-0-{k}" for k in range(n_steps)],
    }

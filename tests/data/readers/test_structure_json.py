import gzip
import json

import numpy as np
import pytest
from ase import Atoms
from pymatgen.core import Lattice, Molecule, Structure

from gnnpot.data.labels import labels_of
from gnnpot.data.readers import read
from gnnpot.errors import DataError, DataWarning

FORCES = [[0.5, -0.25, 0.125], [-0.5, 0.25, -0.125]]
KBAR = [[16.02176634, 1.0, 2.0], [1.0, -32.04353268, 3.0], [2.0, 3.0, 8.01088317]]


@pytest.fixture
def structure() -> Structure:
    return Structure(Lattice([[4, 0, 0], [0, 4.1, 0], [0.5, 0, 4.2]]), ["Li+", "O2-"], [[0, 0, 0], [0.5, 0.5, 0.5]])


@pytest.fixture
def entry(structure) -> dict:
    return {"structure": structure.as_dict(), "energy": -11.5, "force": FORCES, "stress": KBAR}


def written(path, content):
    path.write_text(json.dumps(content))
    return path


def check(frame: Atoms) -> None:
    labels = labels_of(frame)
    assert frame.get_chemical_symbols() == ["Li", "O"]
    np.testing.assert_allclose(frame.positions[1], [2.25, 2.05, 2.1])
    assert labels["energy"] == pytest.approx(-11.5)
    np.testing.assert_array_equal(labels["forces"], FORCES)
    # 16.02176634 kbar of compression (VASP's sign) are -0.01 eV/Å³ of tension.
    np.testing.assert_allclose(np.diag(labels["stress"]), [-0.01, 0.02, -0.005])
    assert labels["stress"][1, 2] < 0


def test_list_of_entries(tmp_path, entry):
    frames = read(written(tmp_path / "a.json", [entry, entry]))
    assert len(frames) == 2
    check(frames[1])


def test_one_entry(tmp_path, entry):
    check(read(written(tmp_path / "a.json", entry))[0])


def test_mptrj_nesting_and_uncorrected_energy(tmp_path, entry):
    del entry["energy"]
    entry |= {"uncorrected_total_energy": -11.5, "corrected_total_energy": -12.5, "energy_per_atom": -6.25}
    entry |= {"ef_per_atom": -1.0, "mp_id": "mp-1", "magmom": [0.5, None], "bandgap": 0.1}
    frame = read(written(tmp_path / "a.json", {"mp-1": {"mp-1-0-0": entry}, "mp-2": {"mp-2-0-0": entry}}))[0]
    check(frame)
    assert frame.info["mp_id"] == "mp-1"
    assert frame.info["json_key"] == "mp-1/mp-1-0-0"
    assert frame.info["corrected_total_energy"] == -12.5


def test_numbered_entries_are_no_ase_database(tmp_path, entry):
    check(read(written(tmp_path / "a.json", {"0": entry, "1": entry}))[1])


def test_dictionary_of_lists_with_energy_per_atom(tmp_path, entry, structure):
    del entry["energy"]
    entry |= {"energy_per_atom": -5.75, "magmom": [0.5, -0.5]}
    columns = {name: [value, value] for name, value in entry.items()}
    frames = read(written(tmp_path / "a.json", columns))
    assert len(frames) == 2
    check(frames[0])
    np.testing.assert_array_equal(frames[0].arrays["magmoms"], [0.5, -0.5])


def test_lists_of_different_length(tmp_path, structure):
    content = {"structure": [structure.as_dict()], "energy": [1.0, 2.0]}
    with pytest.raises(DataError, match="2 values of 'energy' for 1 structures"):
        read(written(tmp_path / "a.json", content))


def test_compressed_and_chosen_energy(tmp_path, entry):
    entry["corrected_total_energy"] = -12.5
    path = tmp_path / "a.json.gz"
    with gzip.open(path, "wt") as file:
        json.dump([entry], file)
    frame = read(path, keys={"energy": "corrected_total_energy"})[0]
    assert labels_of(frame)["energy"] == -12.5


def test_other_units_of_the_stress(tmp_path, entry):
    frame = read(written(tmp_path / "a.json", [entry]), units={"stress": "MPa", "stress_sign": "ase"})[0]
    assert labels_of(frame)["stress"][0, 0] == pytest.approx(1e-4)


@pytest.mark.parametrize(("order", "yz"), [("ase", 4), ("vasp", 5)])
def test_order_of_six_numbers(tmp_path, entry, order, yz):
    entry["stress"] = [1, 2, 3, 4, 5, 6]
    path = written(tmp_path / "a.json", [entry])
    stress = labels_of(read(path, units={"stress_order": order})[0])["stress"]
    assert stress[1, 2] * 1602.176634 == pytest.approx(-yz)
    if order == "ase":
        with pytest.warns(DataWarning, match="six numbers of stress are read in the order xx, yy, zz, yz, xz, xy"):
            np.testing.assert_array_equal(labels_of(read(path)[0])["stress"], stress)


def test_molecule_and_bare_structure_and_charge(tmp_path, structure):
    molecule = Molecule(["O", "H"], [[0, 0, 0], [0, 0, 0.97]]).as_dict()
    charged = structure.as_dict() | {"charge": 2.0}
    crystal, radical = read(written(tmp_path / "a.json", [charged, {"structure": molecule}]))
    assert crystal.info["charge"] == 2.0
    assert labels_of(crystal) == {}
    assert not radical.pbc.any()
    np.testing.assert_array_equal(radical.positions[1], [0, 0, 0.97])


def test_nothing_in_a_file_is_imported(tmp_path, entry):
    entry["structure"]["sites"][0]["properties"] = {"magmom": {"@module": "antigravity", "@class": "fly"}}
    entry["extra"] = {"@module": "this", "@class": "Zen"}
    import sys

    read(written(tmp_path / "a.json", [entry]))
    assert "antigravity" not in sys.modules
    assert "this" not in sys.modules


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("[]", "holds no 'structure'"),
        ('[{"energy": 1}]', "holds no 'structure'"),
        ('[{"structure": {"sites": [', "no valid JSON, or cut off"),
        ('[{"structure": {"lattice": {}}}]', "frame 0: not a pymatgen structure"),
    ],
)
def test_broken_files(tmp_path, content, message):
    path = tmp_path / "a.json"
    path.write_text(content)
    with pytest.raises(DataError, match=message):
        read(path)


def test_partly_occupied_sites_are_refused(tmp_path):
    alloy = Structure(Lattice.cubic(4), [{"Au": 0.5, "Cu": 0.5}], [[0, 0, 0]])
    with pytest.raises(DataError, match="partly occupied"):
        read(written(tmp_path / "a.json", [alloy.as_dict()]))

import numpy as np
import pytest

from gnnpot.data.labels import labels_of
from gnnpot.data.readers import read
from gnnpot.errors import DataError

HARTREE = 27.211386245988
BOHR = 0.529177210903
ATOMIC = {"energy": "hartree", "length": "bohr"}
ELECTRON_VOLTS = {"energy": "eV", "length": "angstrom"}


def test_units_are_required_and_the_message_says_what_to_type(resources):
    with pytest.raises(DataError, match=r"input.data' states no units.*data.units=\{energy: hartree, length: bohr\}"):
        read(resources / "input.data")
    with pytest.raises(DataError, match="lacks length"):
        read(resources / "input.data", units={"energy": "hartree"})


def test_atomic_units(resources):
    crystal, molecule = read(resources / "input.data", units=ATOMIC)
    labels = labels_of(crystal)
    assert labels["energy"] == pytest.approx(-76.25 * HARTREE)
    np.testing.assert_allclose(labels["forces"][0], np.array([0.1, 0.2, -0.3]) * HARTREE / BOHR)
    np.testing.assert_allclose(crystal.positions[0], np.array([1, 2, 3]) * BOHR)
    np.testing.assert_allclose(crystal.cell[2], np.array([1, 0, 12]) * BOHR)
    assert crystal.pbc.all()
    assert crystal.get_chemical_symbols() == ["O", "H", "H"]
    assert not molecule.pbc.any()
    assert (crystal.info["charge"], molecule.info["charge"]) == (0.0, 1.0)
    assert crystal.info["comment"] == "water of hand-made numbers"


def test_ev_and_angstrom(resources):
    frame = read(resources / "input.data", units=ELECTRON_VOLTS)[1]
    assert labels_of(frame)["energy"] == -75.5
    np.testing.assert_array_equal(labels_of(frame)["forces"], [[0.1, 0.2, -0.3], [-0.1, -0.2, 0.3]])


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("charge 1.0\nend\n", "", "frame 1 is cut off"),
        ("0.1 0.2 -0.3", "0.1 0.2", "frame 0, line 6: .* should be atom followed by 9 values"),
        ("lattice 10.0 0.0 0.0\n", "", "frame 0 has 2 lattice lines instead of 3"),
        ("3.0 O", "3.0 Ox", "frame 0: unknown element symbol 'Ox'"),
        ("energy -76.25", "enthalpy -76.25", "line 9: 'enthalpy' is no keyword of input.data"),
        ("end\nbegin\n", "end\n", "line 12: 'comment' before"),
    ],
)
def test_damaged_files(resources, tmp_path, old, new, message):
    path = tmp_path / "input.data"
    path.write_text((resources / "input.data").read_text().replace(old, new, 1))
    with pytest.raises(DataError, match=message):
        read(path, units=ATOMIC)


def test_real_file_equals_its_extended_xyz(gnnpot_data):
    raw = read(gnnpot_data / "raw_formats" / "input.data.Cu2S_PBE.gz", units=ELECTRON_VOLTS)
    converted = read(gnnpot_data / "n2p2" / "Cu2S_PBE_20.xyz")
    assert len(raw) == len(converted) == 20
    for one, other in zip(raw, converted, strict=True):
        assert labels_of(one)["energy"] == pytest.approx(labels_of(other)["energy"])
        np.testing.assert_allclose(labels_of(one)["forces"], labels_of(other)["forces"], atol=1e-8)
        np.testing.assert_allclose(one.positions, other.positions, atol=1e-8)
        np.testing.assert_allclose(one.cell.array, other.cell.array)

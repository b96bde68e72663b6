import numpy as np
import pytest
from ase import Atoms
from ase.calculators.singlepoint import SinglePointCalculator
from ase.io import write

from gnnpot.data.labels import labels_of
from gnnpot.data.readers import read
from gnnpot.data.readers.aliases import checked_keys
from gnnpot.errors import ConfigError, DataError, DataWarning

FORCES = np.array([[0.5, -0.25, 0.125], [-0.5, 0.25, -0.125]])


def file_with(tmp_path, info=None, arrays=None, results=None):
    atoms = Atoms("MgO", positions=[[0, 0, 0], [2, 2, 2]], cell=[4, 4, 4], pbc=True, info=info or {})
    for name, array in (arrays or {}).items():
        atoms.arrays[name] = array
    if results:
        atoms.calc = SinglePointCalculator(atoms, **results)
    write(tmp_path / "a.xyz", atoms, format="extxyz")
    return tmp_path / "a.xyz"


def test_known_aliases_are_read_without_being_asked(tmp_path):
    path = file_with(
        tmp_path,
        {
            "REF_energy": -3.0, "dielectric": np.arange(9.0), "polarization_eA": np.ones(3), "total_charge": 2,
            "DFT_virial": np.diag([6.4, 6.4, 12.8]),
        },
        {"DFT_forces": FORCES, "born_charge": np.arange(18.0).reshape(2, 9)},
    )  # fmt: skip
    frame = read(path)[0]
    labels = labels_of(frame)
    assert labels["energy"] == -3.0
    np.testing.assert_array_equal(labels["forces"], FORCES)
    np.testing.assert_array_equal(labels["dielectric_tensor"], np.arange(9.0).reshape(3, 3))
    np.testing.assert_array_equal(labels["born_effective_charges"][0], np.arange(9.0).reshape(3, 3))
    np.testing.assert_array_equal(labels["polarization"], np.ones(3))
    np.testing.assert_allclose(np.diag(labels["stress"]), [-0.1, -0.1, -0.2])
    assert frame.info["charge"] == 2.0
    assert "REF_energy" not in frame.info


def test_keys_name_the_columns(tmp_path):
    path = file_with(tmp_path, {"pbe_e": -3.0, "W": np.eye(3).reshape(9) * 6.4}, {"pbe_f": FORCES})
    frame = read(path, keys={"energy": "pbe_e", "forces": "pbe_f", "virial": "W"})[0]
    labels = labels_of(frame)
    assert labels["energy"] == -3.0
    np.testing.assert_array_equal(labels["forces"], FORCES)
    np.testing.assert_allclose(labels["stress"], -0.1 * np.eye(3))


def test_keys_win_over_the_canonical_name(tmp_path):
    path = file_with(tmp_path, {"r2scan_energy": -5.0}, results={"energy": -3.0})
    assert labels_of(read(path, keys={"energy": "r2scan_energy"})[0])["energy"] == -5.0


def test_an_unread_label_is_reported_with_what_to_type(tmp_path):
    path = file_with(tmp_path, {"r2scan_energy": -5.0}, {"xtb_forces": FORCES}, {"energy": -3.0})
    with pytest.warns(DataWarning) as caught:
        read(path)
    messages = [str(warning.message) for warning in caught]
    assert any("'r2scan_energy' looks like a label and is not read" in text for text in messages)
    assert any("data.keys={forces: xtb_forces}" in text for text in messages)


def test_what_is_no_label_is_not_reported(tmp_path):
    info = {"energy_sigma0": -3.1, "kinetic_energy": 1.0, "stress_order": "xx", "bec_asr": 0.1, "n_forces": 6}
    frame = read(file_with(tmp_path, info, {"force_norm": np.ones(2)}, {"energy": -3.0}))[0]
    assert frame.info["energy_sigma0"] == -3.1


def test_two_columns_that_differ_are_an_error(tmp_path):
    path = file_with(tmp_path, {"REF_energy": -5.0}, results={"energy": -3.0})
    with pytest.raises(DataError, match=r"'energy' \(-3\) and 'REF_energy' \(-5\) are both energy and differ: choose"):
        read(path)
    assert labels_of(read(path, keys={"energy": "REF_energy"})[0])["energy"] == -5.0
    assert labels_of(read(path, keys={"energy": "energy"})[0])["energy"] == -3.0


def test_two_columns_that_agree_are_one(tmp_path):
    path = file_with(tmp_path, {"REF_energy": -3.0}, {"REF_forces": FORCES}, {"energy": -3.0, "forces": FORCES})
    assert labels_of(read(path)[0])["energy"] == -3.0


def test_the_free_energy_is_the_one_that_forces_belong_to(tmp_path):
    path = file_with(tmp_path, results={"energy": -3.0, "free_energy": -3.25})
    with pytest.warns(DataWarning, match=r"energy -3.000000 eV and free_energy -3.250000 eV differ.*data.keys"):
        frame = read(path)[0]
    assert labels_of(frame)["energy"] == -3.25
    assert frame.info["energy_sigma0"] == -3.0
    assert labels_of(read(path, keys={"energy": "energy"})[0])["energy"] == -3.0


def test_a_name_that_no_frame_has(tmp_path):
    path = file_with(tmp_path, {"REF_energy": -5.0})
    with pytest.raises(DataError, match=r"no frame has a column 'ref_energi': did you mean 'REF_energy'"):
        read(path, keys={"energy": "ref_energi"})


def test_energy_per_atom_is_multiplied(tmp_path):
    assert labels_of(read(file_with(tmp_path, {"energy_per_atom": -1.5}))[0])["energy"] == -3.0
    path = file_with(tmp_path, {"e": -1.5})
    assert labels_of(read(path, keys={"energy_per_atom": "e"})[0])["energy"] == -3.0


def test_text_in_a_label_column(tmp_path):
    path = file_with(tmp_path, {"REF_energy": "unknown"})
    with pytest.raises(DataError, match="'REF_energy' is read as energy, but holds 'unknown'"):
        read(path)


def test_mistyped_label_in_keys():
    with pytest.raises(ConfigError, match=r"data.keys has no label 'enrgy': did you mean 'energy'"):
        checked_keys({"enrgy": "E"})
    with pytest.raises(ConfigError, match="names 'stress' twice"):
        checked_keys({"stress": "s", "virial": "W"})

import ase.io
import pytest
from ase import Atoms
from ase.build import molecule

from gnnpot.apps.info import info
from gnnpot.errors import CheckpointError
from gnnpot.models.hdnnp import HDNNP
from gnnpot.models.schnet import SchNet
from gnnpot.models.store import save


def test_checkpoint(tmp_path, capsys):
    card = {"level_of_theory": "PBE", "trained_on": {"name": "Li2O", "sha256": "0" * 64}}
    save(SchNet(["Li", "O"], cutoff=4.0, n_features=8), tmp_path / "model", card)
    found = info(tmp_path / "model")
    printed = capsys.readouterr().out
    assert found["elements"] == ["Li", "O"]
    assert "energy, energies, forces, stress" in printed
    assert "reference" in printed and "(eV)" in printed
    assert found["n_parameters"] > 0
    for text in ("SchNet", "Li, O", "4 Å", "PBE", "(eV)", "Li2O", "eV/Å"):
        assert text in printed


def test_data_file(tmp_path, capsys):
    water, pair = molecule("H2O"), Atoms("H2", [[0, 0, 0], [0, 0, 0.7]], cell=[4, 5, 6], pbc=True)
    water.info.update(energy=-470.0, config_type="wet", charge=1.0)
    pair.info.update(energy=-31.0, stress=[0.0, 0.0, 0.03, 0.0, 0.0, 0.0])
    pair.arrays["forces"] = pair.positions * 2.0
    ase.io.write(tmp_path / "data.extxyz", [water, pair], write_results=False)
    found = info(tmp_path / "data.extxyz")
    printed = capsys.readouterr().out
    assert found["n_frames"] == 2
    assert found["atoms_per_frame"] == (2, 3)
    assert found["elements"] == {"H": 4, "O": 1}
    assert found["shortest_distance_ang"] == pytest.approx(0.7)
    assert found["energy_ev_per_atom"] == pytest.approx((-470.0 / 3, -15.5))
    assert found["force_ev_per_ang"] == pytest.approx((0.0, 1.4))
    assert found["pressure_gpa"][0] == pytest.approx(-1.602, abs=1e-3)
    assert found["periodic_directions"] == {0: 1, 3: 1}
    assert found["charges"] == {1.0: 1}
    assert found["config_types"] == {"wet": 1}
    assert found["labels"]["n_energy"] == 2
    for text in ("eV/atom", "eV/Å", "GPa", "Å", "wet", "1 e"):
        assert text in printed


def test_bundled_data():
    found = info("Li2O")
    assert found["n_frames"] == 270
    assert found["shortest_distance_ang"] > 1.0


def test_isolated_atoms_have_no_distance(tmp_path):
    ase.io.write(tmp_path / "atom.extxyz", Atoms("H", info={"energy": -13.6}), write_results=False)
    assert info(tmp_path / "atom.extxyz")["shortest_distance_ang"] is None


def test_shipped_models_are_listed(capsys):
    assert isinstance(info("pretrained"), dict)
    assert capsys.readouterr().out.strip()


def test_what_is_not_there_is_named(tmp_path):
    with pytest.raises(CheckpointError, match="no checkpoint here"):
        info(tmp_path)
    with pytest.raises(CheckpointError, match="Neither is there a data file"):
        info("nothing_of_this_name")


def test_symmetry_functions_are_counted_and_not_listed(tmp_path, capsys):
    model = HDNNP(["Li", "O"], 4.0, n_radial=3, n_angular=1, descriptors="chebyshev")
    info(save(model, tmp_path / "model"))
    printed = capsys.readouterr().out
    assert "order=" not in printed
    rows = [line.split() for line in printed.splitlines()]
    assert ["wT3", "5", "5"] in rows
    assert ["all", "21", "21"] in rows

import ase.io
import numpy as np
import pytest
from ase import Atoms
from ase.build import fcc111
from ase.calculators.singlepoint import SinglePointCalculator

from gnnpot.apps.calculator import Calculator
from gnnpot.apps.predict import predict_file
from gnnpot.errors import DataError, DataWarning, PropertyNotAvailableError


def test_labels_of_the_model_stand_beside_those_of_the_file(argon_potential, argon, tmp_path, capsys):
    argon.calc = SinglePointCalculator(argon, energy=-1.5, forces=np.ones((32, 3)))
    slab = fcc111("Ar", (2, 2, 2), a=5.3, vacuum=8.0)
    slab.info.clear()
    ase.io.write(tmp_path / "in.extxyz", [argon, slab])
    result = predict_file(argon_potential, tmp_path / "in.extxyz", tmp_path / "out.extxyz", dtype="float64")
    first, second = ase.io.read(result.output, ":")
    fresh = argon.copy()
    fresh.calc = Calculator(argon_potential, dtype="float64")
    assert first.get_potential_energy() == -1.5
    assert first.info["predicted_energy"] == pytest.approx(fresh.get_potential_energy())
    np.testing.assert_allclose(first.arrays["predicted_forces"], fresh.get_forces(), atol=1e-7)
    np.testing.assert_allclose(
        np.asarray(first.info["predicted_stress"]).reshape(3, 3), fresh.get_stress(voigt=False), atol=1e-9
    )
    assert "predicted_stress" not in second.info
    printed = capsys.readouterr().out
    assert "predicted_energy (eV)" in printed
    assert "predicted_forces (eV/Å)" in printed


def test_chosen_properties_only(argon_potential, argon, tmp_path):
    argon.write(tmp_path / "in.extxyz")
    predict_file(argon_potential, {"path": str(tmp_path / "in.extxyz")}, tmp_path / "out.xyz", properties=["energy"])
    frame = ase.io.read(tmp_path / "out.xyz")
    assert "predicted_energy" in frame.info
    assert "predicted_forces" not in frame.arrays


def test_direct_forces_have_no_energy_to_predict(swirling_forces, argon, tmp_path):
    argon.write(tmp_path / "in.extxyz")
    predict_file(swirling_forces, tmp_path / "in.extxyz", tmp_path / "out.xyz")
    assert "predicted_forces" in ase.io.read(tmp_path / "out.xyz").arrays
    with pytest.raises(PropertyNotAvailableError, match="SwirlingForces gives no 'energy'"):
        predict_file(swirling_forces, tmp_path / "in.extxyz", tmp_path / "out.xyz", properties=["energy"])


def test_stress_without_volume_is_refused_and_partly_said(argon_potential, argon, tmp_path, capsys):
    slab = fcc111("Ar", (2, 2, 2), a=5.3, vacuum=8.0)
    slab.info.clear()
    ase.io.write(tmp_path / "slab.extxyz", [slab])
    with pytest.raises(PropertyNotAvailableError, match=r"slab\.extxyz, frame 0\. Leave stress out"):
        predict_file(argon_potential, tmp_path / "slab.extxyz", tmp_path / "out.xyz", properties=["stress"])
    assert not (tmp_path / "out.xyz").exists()
    ase.io.write(tmp_path / "both.extxyz", [argon, slab])
    with pytest.warns(DataWarning, match=r"1 of 2 structures have no stress.*both\.extxyz, frame 1"):
        predict_file(argon_potential, tmp_path / "both.extxyz", tmp_path / "out.xyz", properties=["stress"])
    assert "predicted_stress (eV/Å³, 1 of 2 structures)" in capsys.readouterr().out


def test_what_no_structure_has_is_not_announced(argon_potential, tmp_path, capsys):
    ase.io.write(tmp_path / "atom.extxyz", Atoms("Ar"))
    predict_file(argon_potential, tmp_path / "atom.extxyz", tmp_path / "out.xyz")
    printed = capsys.readouterr().out
    assert "1 structure with predicted_energy (eV)" in printed
    assert "stress" not in printed


def test_a_wrong_output_is_refused_before_anything_is_read(argon_potential, tmp_path):
    with pytest.raises(DataError, match="should end in one of"):
        predict_file(argon_potential, tmp_path / "there_is_no_such_file.xyz", tmp_path / "out.csv")

import ase.io
import numpy as np
import pytest
from ase.build import fcc111
from ase.calculators.singlepoint import SinglePointCalculator

from gnnpot.apps.calculator import Calculator
from gnnpot.apps.predict import predict_file
from gnnpot.errors import PropertyNotAvailableError


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

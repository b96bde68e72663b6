import json

import ase.io
import numpy as np
import pytest
from ase.calculators.singlepoint import SinglePointCalculator

from gnnpot.apps.calculator import Calculator
from gnnpot.apps.evaluate import evaluate
from gnnpot.errors import ConfigError, DataError, PropertyNotAvailableError


@pytest.fixture
def labeled(argon_potential, argon, tmp_path):
    """Frames whose labels are those of the model, the energy 1 meV/atom too high."""
    frames = []
    for k in range(3):
        frame = argon.copy()
        frame.rattle(0.05, seed=k)
        frame.calc = Calculator(argon_potential, dtype="float64")
        energy, forces, stress = frame.get_potential_energy() + 0.032, frame.get_forces(), frame.get_stress()
        frame.calc = SinglePointCalculator(frame, energy=energy, forces=forces, stress=stress)
        frame.info["config_type"] = "hot" if k else "cold"
        frames.append(frame)
    ase.io.write(tmp_path / "labeled.extxyz", frames)
    return tmp_path / "labeled.extxyz"


def test_errors_are_those_put_in(argon_potential, labeled, tmp_path, capsys):
    data = {"path": str(labeled), "format": None, "units": None, "keys": None}
    result = evaluate(argon_potential, data, output=tmp_path / "errors.json", dtype="float64")
    errors = result.metrics["test"]
    assert errors["energy_mae_mev_per_atom"] == pytest.approx(1.0, abs=1e-5)
    assert errors["forces_mae_mev_per_ang"] == pytest.approx(0.0, abs=1e-4)
    assert errors["stress_mae_gpa"] == pytest.approx(0.0, abs=1e-5)
    assert set(errors["per_config_type"]) == {"hot", "cold"}
    assert json.loads((tmp_path / "errors.json").read_text()) == result.metrics
    printed = capsys.readouterr().out
    assert all(unit in printed for unit in ("meV/atom", "meV/Å", "GPa"))


def test_provenance_holds_the_hash_of_the_data(argon_potential, labeled):
    provenance = evaluate(argon_potential, labeled).metrics["provenance"]
    assert len(provenance["data_sha256"]) == 64
    assert provenance["checkpoint"] == "LennardJones"


def test_chosen_properties_only(argon_potential, labeled):
    errors = evaluate(argon_potential, labeled, properties=["forces"]).metrics["test"]
    assert "forces_mae_mev_per_ang" in errors
    assert "energy_mae_mev_per_atom" not in errors


def test_direct_forces_are_compared_by_their_forces(swirling_forces, labeled):
    errors = evaluate(swirling_forces, labeled).metrics["test"]
    assert {name for name in errors if "mae" in name} == {"forces_mae_mev_per_ang"}


def test_unknown_property_is_refused(argon_potential, labeled):
    with pytest.raises(PropertyNotAvailableError, match="did you mean 'forces'"):
        evaluate(argon_potential, labeled, properties=["force"])


def test_files_without_labels_are_refused(argon_potential, argon, tmp_path):
    argon.write(tmp_path / "bare.extxyz")
    with pytest.raises(DataError, match=r"nothing to compare.*gnnpot predict"):
        evaluate(argon_potential, tmp_path / "bare.extxyz")


def test_mistyped_data_key_is_refused(argon_potential, labeled):
    with pytest.raises(ConfigError, match="did you mean 'units'"):
        evaluate(argon_potential, {"path": labeled, "unit": None})
    with pytest.raises(ConfigError, match=r"data\.path is missing"):
        evaluate(argon_potential, {"path": None})


def test_several_files_and_partial_labels(argon_potential, labeled, argon, tmp_path):
    argon.calc = SinglePointCalculator(argon, energy=-2.0)
    argon.write(tmp_path / "energy_only.extxyz")
    result = evaluate(argon_potential, [labeled, tmp_path / "energy_only.extxyz"])
    counts = result.metrics["test"]["counts"]
    assert counts["n_structures"] == 4
    assert counts["n_energy"] == 4
    assert counts["n_force_components"] == 3 * 32 * 3
    assert np.isfinite(result.metrics["test"]["forces_mae_mev_per_ang"])

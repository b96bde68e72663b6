"""Born charges as good as they have to be, by trainings of a minute or two: `make gates`, or ``pytest --gates``."""

import json
import os
import runpy
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from gnnpot.apps.calculator import prepared
from gnnpot.apps.response_tests import sum_rule_error
from gnnpot.data.readers import read

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"


@dataclass(frozen=True)
class Gate:
    """A training, and what its test error in e has to be below; the splits are those of the benchmarks."""

    data: str
    settings: tuple[str, ...]
    error: str
    most: float
    of_means: float = 0.5
    """Also below this part of the RMSE of a model that gives each element its mean tensor."""


GATES = {
    "SiO2-polarization": Gate("SiO2", ("head=polarization", "trainer.max_epochs=10", "batch_size=2"), "rmse", 0.0376),
    "SiO2-tensor": Gate("SiO2", ("head=born_tensor", "trainer.max_epochs=10", "batch_size=2"), "rmse", 0.071),
    "BaTiO3": Gate("BaTiO3", ("head=polarization", "trainer.max_epochs=30", "batch_size=1"), "rmse", 0.0376),
    "crystals": Gate("dielectrics", ("head=born_tensor", "trainer.max_epochs=12"), "mae", 0.15),
    "Li2O": Gate("Li2O", ("head=polarization", "trainer.max_epochs=100"), "rmse", 0.02),
    "MgO": Gate("MgO", ("head=born_tensor", "trainer.max_epochs=100"), "rmse", 0.01),
}
"""Bounds: Shimizu's figure of 2023 for SiO2 and BaTiO3, that of a linear model for the tensor head, an MAE of 0.15 for
crystals of 64 elements; for the bundled sets about half of the error of the means."""


@pytest.fixture(scope="session")
def gates(request: pytest.FixtureRequest) -> None:
    """Skip unless asked for."""
    if not request.config.getoption("--gates"):
        pytest.skip("trainings of minutes: make gates, or pytest --gates")


def run(folder: Path, *words: str) -> None:
    """A command in a process of its own, of one thread."""
    done = subprocess.run(
        [sys.executable, *words], cwd=folder, env={**os.environ, "OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout.decode()


@pytest.fixture(scope="session")
def parts(gates: None, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Training, validation and test files of every set that is at hand."""
    folder = tmp_path_factory.mktemp("parts")
    run(folder, str(BENCHMARKS / "born_data.py"), os.environ.get("GNNPOT_DATA") or str(folder), str(folder))
    return folder


@pytest.mark.slow
@pytest.mark.parametrize("name", GATES)
def test_born_charges_are_as_good_as_they_have_to_be(
    parts: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    gate = GATES[name]
    files = {part: parts / f"{gate.data}_{part}.xyz" for part in ("train", "val", "test")}
    if not files["train"].is_file():
        pytest.skip(f"{gate.data} is not at hand: GNNPOT_DATA names no folder that holds it (benchmarks/DATA.md)")
    paths = [f"data.{part}_path={path}" for part, path in files.items()]
    run(tmp_path, "-m", "gnnpot", "fit", "run_dir=run", *paths, *gate.settings)
    found = json.loads((tmp_path / "run" / "metrics.json").read_text())["test"]
    norms = {norm: found[f"born_{norm}_e"] for norm in ("rmse", "row_rmse", "tensor_rmse", "mae")}
    error_of_means = runpy.run_path(str(BENCHMARKS / "born_table.py"))["error_of_means"]
    means = error_of_means(files["train"], files["test"])
    with capsys.disabled():
        listed = ", ".join(f"{norm} {value:.4f}" for norm, value in norms.items())
        print(f"\n{name}: {listed} e; RMSE of the elements' means {means:.4f} e")
    assert norms[gate.error] < gate.most
    assert norms["rmse"] < gate.of_means * means
    model = prepared(tmp_path / "run", dtype="float64")
    for atoms in read(files["test"])[:3]:
        assert sum_rule_error(model, atoms, np.random.default_rng(0)) * len(atoms) < 1e-10

"""Small data and small configurations for trainings of a second."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import ase
import numpy as np
import pytest
from ase.build import bulk
from ase.calculators.emt import EMT
from ase.calculators.singlepoint import SinglePointCalculator
from ase.io import write

SMALL_MODEL = {
    "_target_": "gnnpot.models.schnet.SchNet",
    "elements": None,
    "cutoff": 3.2,
    "n_features": 8,
    "n_interactions": 1,
    "n_radial": 6,
    "envelope": "polynomial",
}


def copper(n: int, seed: int = 0) -> list[ase.Atoms]:
    """Rattled and strained copper of one and four atoms with effective-medium energies, forces and stress."""
    rng = np.random.default_rng(seed)
    frames = []
    for k in range(n):
        atoms = bulk("Cu", cubic=k % 3 > 0)
        strain = np.eye(3) * (1.0 + rng.uniform(-0.03, 0.05)) + rng.normal(0, 0.01, (3, 3))
        atoms.set_cell(atoms.cell.array @ strain, scale_atoms=True)
        atoms.positions += rng.normal(0, 0.08, atoms.positions.shape)
        atoms.calc = EMT()
        results = {
            "energy": atoms.get_potential_energy(),
            "forces": atoms.get_forces(),
            "stress": atoms.get_stress(voigt=True),
        }
        atoms.calc = SinglePointCalculator(atoms, **results)
        atoms.info["config_type"] = "one" if len(atoms) == 1 else "four"
        frames.append(atoms)
    return frames


def relabelled(path: Path, n: int, keep: Callable[[int], tuple[str, ...]]) -> Path:
    """File of copper whose frame k has the labels ``keep(k)``."""
    frames = copper(n)
    for k, atoms in enumerate(frames):
        results = {name: value for name, value in atoms.calc.results.items() if name in keep(k)}
        atoms.calc = SinglePointCalculator(atoms, **results)
    write(path, frames, format="extxyz")
    return path


@pytest.fixture(scope="session")
def copper_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """30 labelled frames of copper in a file."""
    path = tmp_path_factory.mktemp("data") / "copper.extxyz"
    write(path, copper(30), format="extxyz")
    return path


@pytest.fixture
def settings(copper_file: Path, tmp_path: Path) -> Callable[..., dict[str, Any]]:
    """Configuration of a training of three epochs; keyword arguments replace whole top-level entries in part."""

    def make(run: str = "run", **changes: dict[str, Any] | Any) -> dict[str, Any]:
        from gnnpot.training.resume import merged

        base: dict[str, Any] = {
            "model": SMALL_MODEL,
            "data": {"path": str(copper_file), "split": {"kind": "random"}, "cache": str(tmp_path / "cache")},
            "trainer": {"max_epochs": 3, "accelerator": "cpu", "progress": False, "validate_every": 1},
            "run_dir": str(tmp_path / run),
            "batch_size": 5,
        }
        return merged(base, changes)

    return make


@pytest.fixture
def no_report(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave out the page, which takes longer than these trainings."""
    monkeypatch.setattr("gnnpot.training.fit.write_report", lambda run_dir: None)

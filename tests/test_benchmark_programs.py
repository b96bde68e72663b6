"""Figures that the programs under benchmarks/ make of results: against curves whose answer is known."""

import importlib
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

import gnnpot

FOLDER = Path(gnnpot.__file__).parents[1] / "benchmarks" / "finetune"

pytestmark = pytest.mark.skipif(not FOLDER.is_dir(), reason="not a checkout")


@pytest.fixture
def program(monkeypatch: pytest.MonkeyPatch) -> Any:
    def load(name: str) -> ModuleType:
        monkeypatch.syspath_prepend(str(FOLDER))
        return importlib.import_module(name)

    return load


def cells(system: str, gain: float, sizes: tuple[int, ...] = (5, 10, 20, 50, 100, 200)) -> list[dict[str, Any]]:
    """Errors 100/√N from scratch; fine-tuned as if N were larger by a factor. Two seeds, 10 % about the mean."""
    found = []
    for n in sizes:
        for seed, factor in ((0, 0.9), (1, 1.1)):
            errors = {
                "scratch": {"forces": factor * 100.0 / n**0.5, "energy": factor * 10.0 / n},
                "finetuned": {"forces": factor * 100.0 / (gain * n) ** 0.5, "energy": factor * 10.0 / (gain * n)},
            }
            cell = {"system": system, "n": n, "seed": seed, "test": errors, "kept": "finetuned", "forgetting": 1.5}
            found.append({**cell, "steps": 600, "training_s": 61.0, "checkpoint": "mp-schnet"})
    return found


def test_label_efficiency_of_power_laws(program: Any) -> None:
    efficiency = program("efficiency")
    found = efficiency.summary_of([*cells("Si", 4.0), *cells("Li", 7.0), *cells("Cu", 1000.0), *cells("worse", 0.25)])
    ratios = {system: (e["bound"], round(e["ratio"], 6)) for system, e in found["efficiency"].items()}
    assert ratios == {"Si": ("", 4.0), "Li": ("", 7.0), "Cu": (">", 20.0), "worse": ("<", 0.5)}
    assert found["median_efficiency"] == pytest.approx(5.5)
    assert found["efficiency"]["Si"]["force_error"] == pytest.approx(10.0)


def test_what_fine_tuning_on_20_structures_gains(program: Any) -> None:
    efficiency = program("efficiency")
    found = efficiency.summary_of([*cells("Si", 4.0), *cells("Li", 7.0)])
    assert found["at_small_n"]["Si"]["forces"] == pytest.approx({"same_n": 0.5, "reference_n": 5**0.5 / 2})
    assert found["at_small_n"]["Li"]["energy"] == pytest.approx({"same_n": 1 / 7, "reference_n": 5 / 7})
    text = efficiency.tables_of(found)
    assert "| better on | 2 of 2 | 2 of 2 | 1 of 2 | 1 of 2 |" in text
    assert "the longest fine-tuning took 1 min 01 s" in text
    alone = efficiency.summary_of([cell for cell in cells("Si", 4.0) if cell["n"] != 20])
    assert "| better on | 0 of 1 |" in efficiency.tables_of(alone)


def test_forgetting_beside_what_is_learned(program: Any) -> None:
    forgetting = program("forgetting")
    plain = [cell for cell in cells("Si", 4.0) if cell["n"] == 100]
    table = forgetting.table_of({"plain": plain, "with replay": [{**cell, "forgetting": 1.05} for cell in plain]})
    assert table.rows == (("Si", "1.50", "1.05", "5.00", "5.00"), ("mean", "1.50", "1.05", "", ""))


def test_every_cell_takes_as_many_steps_of_as_many_new_structures(program: Any, tmp_path: Path) -> None:
    import argparse

    program = program("data_efficiency")
    options = {"checkpoint": "mp-schnet", "steps": 600, "batch_size": 4, "forgetting": None, "scratch": True}
    for n_train, epochs in ((4, 600), (16, 150), (80, 30), (81, 29)):
        for replay, batch_size in ((None, 4), ("old.xyz", 8)):
            found = program.config_of(tmp_path, n_train, 0, argparse.Namespace(**options, replay=replay))
            assert (found["trainer"]["max_epochs"], found["batch_size"]) == (epochs, batch_size)

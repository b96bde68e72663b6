import os
import subprocess
import sys
from typing import Any

import numpy as np
import pytest

from gnnpot.config import compose
from gnnpot.data.bundled import bundled_path
from gnnpot.errors import ConfigError
from gnnpot.models.prediction import EVALUATION_EDGES
from gnnpot.training.assembly import budget_of, validation_interval
from gnnpot.training.datamodule import evaluation_batches
from gnnpot.training.resume import completed, merged
from gnnpot.training.settings import checked_settings


@pytest.mark.parametrize(
    ("overrides", "expected"),
    [
        ([], (None, 150.0)),
        (["data.path=mine.xyz"], (None, 900.0)),
        (["trainer.max_epochs=7"], (7, None)),
        (["trainer.max_time=00:01:00:00", "trainer.max_epochs=7"], (7, 3600.0)),
        (["experiment=quick"], (None, 60.0)),
    ],
)
def test_budgets(overrides: list[str], expected: tuple[int | None, float | None]) -> None:
    budget = budget_of(compose("fit", overrides))
    assert (budget.max_epochs, budget.max_seconds) == expected


def test_validation_takes_a_tenth_of_the_time_at_most() -> None:
    n_edges = np.full(1000, 100)
    assert validation_interval(n_edges, np.arange(900), np.arange(900, 1000), 200) == 1
    assert validation_interval(n_edges, np.arange(100), np.arange(100, 1000), 100) == 32
    assert validation_interval(n_edges, np.arange(900), np.arange(900, 1000), 2) == 10
    assert validation_interval(np.zeros(3, dtype=int), np.arange(2), np.arange(2, 3), 50) == 1


def test_evaluation_batches_hold_all_and_are_bounded() -> None:
    n_edges = np.array([10, 2 * EVALUATION_EDGES, 0, EVALUATION_EDGES, 5])
    batches = evaluation_batches(n_edges, np.arange(5))
    assert np.concatenate(batches).tolist() == [0, 1, 2, 3, 4]
    assert [b.tolist() for b in batches] == [[0], [1], [2, 3], [4]] or all(
        len(b) == 1 or n_edges[b].sum() <= EVALUATION_EDGES for b in batches
    )
    assert evaluation_batches(n_edges, np.zeros(0, dtype=np.int64)) == []


def test_bundled_data_give_way_to_a_file_of_that_name(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    path = bundled_path("MgO")
    assert path is not None
    assert path.is_file()
    assert bundled_path("mine.xyz") is None
    monkeypatch.chdir(tmp_path)
    (tmp_path / "MgO").write_text("mine")
    assert bundled_path("MgO") is None


def test_partial_configurations_are_completed() -> None:
    config = completed({"model": "schnet", "loss": "mse", "trainer": {"max_epochs": 2}})
    assert config["model"]["_target_"].endswith("SchNet")
    assert config["loss"]["energy"]["kind"] == "mse"
    assert config["trainer"]["max_epochs"] == 2
    assert config["seed"] == 0


def test_another_class_drops_the_arguments_of_the_old_one_but_not_groups() -> None:
    base = {"_target_": "a.A", "lr": 1.0, "fused": True, "schedule": {"kind": "cosine"}}
    assert merged(base, {"_target_": "b.B", "lr": 2.0}) == {
        "_target_": "b.B",
        "lr": 2.0,
        "schedule": {"kind": "cosine"},
    }


DRY_RUN = """
from gnnpot.training.assembly import _trainer, budget_of
from gnnpot.training.resume import completed
config = completed({"trainer": {"num_nodes": 2, "devices": 2, "strategy": "ddp", "accelerator": "cpu"}})
trainer = _trainer(config, budget_of(config), [])
environment = trainer.strategy.cluster_environment
print(type(environment).__name__, environment.creates_processes_externally, environment.main_address)
print(trainer.num_nodes, trainer.world_size, trainer.global_rank)
"""


def test_slurm_starts_the_processes_of_all_nodes() -> None:
    """A dry run of the second of two nodes with two processes each: nothing connects before the training does.

    In a process of its own: Lightning writes what it finds into the environment and into its loggers.
    """
    job = {"NTASKS": 4, "NTASKS_PER_NODE": 2, "NNODES": 2, "JOB_NAME": "fit", "JOB_ID": 17, "NODEID": 1, "PROCID": 2}
    slurm = {f"SLURM_{name}": str(value) for name, value in {**job, "LOCALID": 0, "NODELIST": "node[1-2]"}.items()}
    command = [sys.executable, "-W", "ignore", "-c", DRY_RUN]
    done = subprocess.run(command, capture_output=True, text=True, check=True, env={**os.environ, **slurm})
    assert done.stdout.split() == ["SLURMEnvironment", "True", "node1", "2", "4", "2"]


def test_num_nodes_must_be_positive() -> None:
    with pytest.raises(ConfigError, match=r"trainer\.num_nodes=0"):
        checked_settings(completed({"trainer": {"num_nodes": 0}}))

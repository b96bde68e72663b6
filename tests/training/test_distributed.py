import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from gnnpot.report.rundir import read_log

from .conftest import relabelled

Settings = Callable[..., dict[str, Any]]


def run(config: dict[str, Any], folder: Path) -> None:
    """``gnnpot fit`` in a process of its own (and those that it starts), as a user would."""
    overrides = [
        f"data.path={config['data']['path']}",
        f"data.cache={config['data']['cache']}",
        f"run_dir={config['run_dir']}",
        f"batch_size={config['batch_size']}",
        "data.split.kind=random",
        *[f"model.{key}={config['model'][key]}" for key in ("cutoff", "n_features", "n_interactions", "n_radial")],
        *[f"trainer.{key}={value}" for key, value in config["trainer"].items()],
    ]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "gnnpot", "fit", *overrides]
    done = subprocess.run(
        command, env=environment, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=300
    )
    assert done.returncode == 0, done.stdout.decode()


@pytest.mark.slow
def test_two_processes_have_the_losses_of_one(settings: Settings, tmp_path: Path) -> None:
    """21 steps with batches of 7, which the two processes share unevenly; some frames lack some labels."""
    path = relabelled(tmp_path / "mixed.extxyz", 30, lambda k: ("energy", "forces", "stress")[: 1 + k % 3])
    trainer = {"max_epochs": 7, "precision": "float64", "accelerator": "cpu", "validate_every": 1}
    data = {"path": str(path)}
    single = settings("one", trainer=trainer, data=data, batch_size=7)
    double = settings("two", trainer={**trainer, "devices": 2, "strategy": "ddp"}, data=data, batch_size=7)
    run(single, tmp_path)
    run(double, tmp_path)
    one, two = (read_log(tmp_path / name / "log.csv") for name in ("one", "two"))
    assert one["step"][-1] == 21
    for column in one:
        if column != "seconds":
            np.testing.assert_allclose(two[column], one[column], rtol=1e-6, err_msg=column)
    kept = yaml.safe_load((tmp_path / "two" / "config.yaml").read_text())
    assert kept["trainer"]["devices"] == 2

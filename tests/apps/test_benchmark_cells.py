"""Jobs of a cluster that outlive the process which submitted them, with submitit's executor without Slurm."""

import json
import subprocess
import sys

import pytest

import gnnpot.apps.benchmark_cells as cells_module
from gnnpot.apps.benchmark_cells import JOB_FILE, run_cells

LOCAL = {"cluster": "local", "timeout_min": 2}


@pytest.fixture
def slow_cell(monkeypatch):
    """A run that takes two seconds and writes down that it was begun."""
    pytest.importorskip("submitit")

    def run_cell(folder, threads):
        import time

        with (folder / "begun.txt").open("a") as stream:
            stream.write("begun\n")
        time.sleep(2.0)
        (folder / "metrics.json").write_text("{}")
        return "finished"

    monkeypatch.setattr(cells_module, "run_cell", run_cell)
    monkeypatch.setattr(cells_module, "POLL_SECONDS", 0.1)


def test_a_job_that_runs_is_waited_for_and_not_submitted_again(slow_cell, tmp_path, monkeypatch):
    import submitit

    folder = tmp_path / "cell"
    folder.mkdir()

    processes = []

    def interrupted(job):
        processes.append(job._process)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(submitit.LocalJob, "exception", interrupted)
        with pytest.raises(KeyboardInterrupt):
            list(run_cells([folder], 1, "submitit", LOCAL, tmp_path / "logs"))
    assert not (folder / "metrics.json").exists()
    noted = json.loads((folder / JOB_FILE).read_text())
    assert noted["cluster"] == "local"
    assert list(run_cells([folder], 1, "submitit", LOCAL, tmp_path / "logs")) == [(folder, "finished")]
    assert (folder / "begun.txt").read_text() == "begun\n"
    assert json.loads((folder / JOB_FILE).read_text()) == noted
    assert [process.wait(10.0) for process in processes] == [0]


def test_a_job_that_was_killed_is_submitted_again(slow_cell, tmp_path):
    ended = subprocess.Popen([sys.executable, "-c", "pass"])
    ended.wait()
    folder = tmp_path / "cell"
    folder.mkdir()
    noted = {"cluster": "local", "job_id": str(ended.pid), "logs": str(tmp_path / "logs")}
    (folder / JOB_FILE).write_text(json.dumps(noted))
    assert list(run_cells([folder], 1, "submitit", LOCAL, tmp_path / "logs")) == [(folder, "finished")]
    assert json.loads((folder / JOB_FILE).read_text())["job_id"] != noted["job_id"]


@pytest.mark.parametrize(
    ("state", "age_s", "is_live"),
    [
        ("RUNNING", 1e6, True),
        ("PENDING", 1e6, True),
        ("CANCELLED", 0.0, False),
        ("UNKNOWN", 0.0, True),
        ("UNKNOWN", 1e6, False),
    ],
)
def test_what_slurm_says_of_a_job(tmp_path, monkeypatch, state, age_s, is_live):
    """Slurm is not here: its answer is made up. A job it does not know may be new, but not for long."""
    import os
    import time

    submitit = pytest.importorskip("submitit")
    monkeypatch.setattr(type(submitit.SlurmJob.watcher), "get_state", lambda self, job_id, mode="standard": state)
    monkeypatch.setattr(submitit.SlurmJob, "state", property(lambda self: state))
    file = tmp_path / JOB_FILE
    file.write_text(json.dumps({"cluster": "slurm", "job_id": "42_0", "logs": str(tmp_path)}))
    os.utime(file, (time.time() - age_s,) * 2)
    assert (cells_module._live_job(tmp_path) is not None) == is_live

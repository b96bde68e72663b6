"""The runs of a benchmark: `gnnpot fit` processes, started side by side here or through Slurm, and how they ended."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

from gnnpot.apps.benchmark_plan import Cell
from gnnpot.data.files import replacing
from gnnpot.errors import ConfigError, did_you_mean

FINISHED, FAILED, UNFINISHED = "finished", "failed", "unfinished"
LAUNCHERS = ("joblib", "submitit")
LOG_FILE = "output.log"
FAILURE_FILE = "failure.txt"
JOB_FILE = "job.json"
"""Which job of a cluster runs the training of a folder."""

N_LINES = 12
"""Last lines of what a failed run printed that are kept."""

POLL_SECONDS = 1.0
REGISTERED_SECONDS = 600.0
"""Time after which a job that Slurm does not know of is none, and not one that it has still to write down."""


def status_of(folder: Path) -> str:
    """How far the run in a folder is: finished, failed, or unfinished (stopped, or not begun)."""
    if (folder / "metrics.json").is_file():
        return FINISHED
    return FAILED if (folder / FAILURE_FILE).is_file() else UNFINISHED


def representatives(cells: Sequence[Cell], data: str) -> dict[str, Cell]:
    """For each model the finished run that stands for it on a data set: most training structures, first seed."""
    best: dict[str, Cell] = {}
    for cell in cells:
        if cell.data == data and status_of(cell.folder) == FINISHED:
            size = float("inf") if cell.size is None else cell.size
            known = best.get(cell.model)
            if known is None or size > (float("inf") if known.size is None else known.size):
                best[cell.model] = cell
    return best


def failure_of(folder: Path) -> str:
    """The last lines that a failed run printed; empty where none failed."""
    file = folder / FAILURE_FILE
    return file.read_text(encoding="utf-8", errors="replace").strip() if file.is_file() else ""


def note_failure(folder: Path, text: str) -> None:
    """Keep the end of what a run said before it failed."""
    lines = [line.rstrip() for line in text.splitlines() if line.strip()]
    (folder / FAILURE_FILE).write_text("\n".join(lines[-N_LINES:]) + "\n", encoding="utf-8")


def command_of(folder: Path) -> list[str]:
    """The command of a run: its folder holds configuration and split, so that starting and going on are the same."""
    return [sys.executable, "-m", "gnnpot", "fit", f"resume={folder}"]


def run_cell(folder: Path, threads: int) -> str:
    """Run or go on with the training in a folder to its end; returns how it ended, and never raises for a failed one.

    Args:
        folder: holds ``config.yaml`` and ``split.json``.
        threads: of the process, unless OMP_NUM_THREADS says otherwise.
    """
    (folder / FAILURE_FILE).unlink(missing_ok=True)
    environment = {"OMP_NUM_THREADS": str(threads), **os.environ}
    log = folder / LOG_FILE
    with log.open("w", encoding="utf-8") as stream:
        done = subprocess.run(
            command_of(folder), stdin=subprocess.DEVNULL, stdout=stream, stderr=subprocess.STDOUT, env=environment
        )
    interrupted = done.returncode == 130
    if done.returncode and not interrupted:
        said = log.read_text(encoding="utf-8", errors="replace")
        note_failure(folder, f"{said}\nexit status {done.returncode}")
    return status_of(folder)


def run_cells(
    folders: Sequence[Path], jobs: int, launcher: str, slurm: Mapping[str, Any], log_dir: Path
) -> Iterator[tuple[Path, str]]:
    """Run trainings, ``jobs`` at a time here or as jobs of Slurm; yields folder and ending of each as they end."""
    if launcher == "joblib":
        yield from _here(folders, jobs)
    else:
        yield from _by_submitit(folders, slurm, log_dir)


def _here(folders: Sequence[Path], jobs: int) -> Iterator[tuple[Path, str]]:
    import joblib

    threads = max(1, (os.cpu_count() or 1) // jobs)

    def run(folder: Path) -> tuple[Path, str]:
        return folder, run_cell(folder, threads)

    parallel = joblib.Parallel(n_jobs=jobs, backend="threading", return_as="generator_unordered", batch_size=1)
    yield from parallel(joblib.delayed(run)(folder) for folder in folders)


def _by_submitit(folders: Sequence[Path], slurm: Mapping[str, Any], log_dir: Path) -> Iterator[tuple[Path, str]]:
    """Submit what no job runs yet, and wait for all: jobs outlive this process, and the next one finds them."""
    executor = slurm_executor(slurm, log_dir)
    threads = int(slurm.get("cpus_per_task") or slurm.get("slurm_cpus_per_task") or 1)
    found = {folder: job for folder in folders if (job := _live_job(folder)) is not None}
    new = [folder for folder in folders if folder not in found]
    with executor.batch() if new else nullcontext():
        submitted = {folder: executor.submit(run_cell, folder.resolve(), threads) for folder in new}
    for folder, job in submitted.items():
        _note_job(folder, job, executor.cluster)
    for folder, job in {**found, **submitted}.items():
        error = job.exception() if folder in submitted else _error_of(job, folder)
        if error is not None and status_of(folder) == UNFINISHED:
            note_failure(folder, f"{type(error).__name__}: {error}")
        yield folder, status_of(folder)


def _note_job(folder: Path, job: Any, cluster: str) -> None:
    content = {"cluster": cluster, "job_id": job.job_id, "logs": str(job.paths.folder.resolve())}
    with replacing(folder / JOB_FILE) as temporary:
        temporary.write_text(json.dumps(content) + "\n", encoding="utf-8")


def _live_job(folder: Path) -> Any:
    """The job that runs a folder or waits to run it, submitted by an earlier process; None where there is none."""
    import submitit

    file = folder / JOB_FILE
    if not file.is_file():
        return None
    noted = json.loads(file.read_text(encoding="utf-8"))
    kinds = {"slurm": submitit.SlurmJob, "local": submitit.LocalJob}
    if noted["cluster"] not in kinds:
        return None
    job = kinds[noted["cluster"]](noted["logs"], noted["job_id"])
    return job if _is_live(job, folder) else None


def _is_live(job: Any, folder: Path) -> bool:
    """Whether a job of an earlier process runs or waits to run.

    A local one is the process of its number. Of Slurm, a job that it does not know of is taken for one that it has
    not written down yet, but only for ten minutes.
    """
    import submitit

    if job.paths.result_pickle.exists():
        return False
    if isinstance(job, submitit.LocalJob):
        return _is_process(int(job.job_id))
    is_new = time.time() - (folder / JOB_FILE).stat().st_mtime < REGISTERED_SECONDS
    return not job.done() and (is_new or job.state != "UNKNOWN")


def _is_process(number: int) -> bool:
    try:
        os.kill(number, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _error_of(job: Any, folder: Path) -> BaseException | None:
    """Wait for the end of a job of an earlier process; its error, None also where it was ended from outside."""
    while _is_live(job, folder):
        time.sleep(POLL_SECONDS)
    error: BaseException | None = job.exception() if job.paths.result_pickle.exists() else None
    return error


def slurm_executor(slurm: Mapping[str, Any], log_dir: Path) -> Any:
    """submitit's executor with the parameters of the configuration; ``cluster: local`` runs without Slurm.

    Raises:
        ConfigError: submitit is not installed, there is no Slurm, or a parameter that it does not know.
    """
    try:
        import submitit
    except ImportError:
        raise ConfigError(
            "launcher=submitit needs submitit: pip install 'gnnpot[slurm]', or leave launcher=joblib"
        ) from None
    parameters = dict(slurm)
    try:
        executor = submitit.AutoExecutor(folder=log_dir, cluster=parameters.pop("cluster", "slurm"))
        executor.update_parameters(**parameters)
    except (RuntimeError, NameError, TypeError, ValueError) as error:
        raise ConfigError(f"launcher=submitit, slurm={dict(slurm)}: {error}") from None
    return executor


def checked_launcher(launcher: str, jobs: int) -> None:
    """Refuse a launcher that does not exist and a number of jobs that is none."""
    if launcher not in LAUNCHERS:
        raise ConfigError(f"launcher={launcher!r} is unknown; {did_you_mean(launcher, LAUNCHERS)}")
    if jobs < 1:
        raise ConfigError(f"jobs={jobs} must be at least 1")


def each_safely(folders: Sequence[Path], work: Callable[[Path], None]) -> Iterator[tuple[Path, str]]:
    """Do some work for each folder; what goes wrong is kept there, and the others go on."""
    for folder in folders:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / FAILURE_FILE).unlink(missing_ok=True)
        try:
            work(folder)
        except Exception as error:
            note_failure(folder, f"{type(error).__name__}: {error}")
        yield folder, status_of(folder)

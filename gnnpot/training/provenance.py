"""Where a result comes from: versions, hardware, commit, time and memory."""

import os
import platform
import resource
import subprocess
import sys
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

import torch

from gnnpot._version import __version__

PACKAGES = ("numpy", "ase", "lightning")
"""Whose versions are told besides those of gnnpot, Python and torch."""


def provenance(data_sha256: str, seed: int) -> dict[str, Any]:
    """Plain values that say what made a result.

    >>> sorted(provenance("0" * 64, seed=1))[:3]
    ['ase', 'cpu', 'data_sha256']
    """
    found: dict[str, Any] = {
        "gnnpot": __version__,
        "torch": str(torch.__version__),
        **{package: metadata.version(package) for package in PACKAGES},
        "python": platform.python_version(),
        "platform": f"{platform.system()} {platform.machine()}",
        "cpu": _processor(),
        "device": torch.cuda.get_device_name(0) if torch.cuda.is_available() else "cpu",
        "threads": torch.get_num_threads(),
        "seed": seed,
        "data_sha256": data_sha256,
        "finished": datetime.now(UTC).isoformat(timespec="seconds"),
    }
    commit = _commit()
    return {**found, "git_commit": commit} if commit else found


def peak_memory_mb() -> float:
    """Largest memory this process has held so far, MB (on an accelerator, that of its own memory too)."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    resident = peak / 1e6 if sys.platform == "darwin" else peak * 1024 / 1e6
    return round(resident, 1)


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    if info.is_file():
        for line in info.read_text(encoding="utf-8", errors="replace").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def _commit() -> str | None:
    """Commit of the working directory, marked where files differ from it."""
    environment = {**os.environ, "GIT_OPTIONAL_LOCKS": "0"}
    command = ["git", "describe", "--always", "--dirty", "--abbrev=12", "--exclude=*"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=5, check=True, env=environment)
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip() or None

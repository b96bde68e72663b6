"""How many labels a fine-tuned model saves: fine-tuned against from scratch, by the number of labeled structures.

    python benchmarks/finetune/data_efficiency.py CHECKPOINT FOLDER [--data GNNPOT_DATA] [--steps 600] [--jobs 2]

For each system, number N of labeled structures (a fifth of them, at most 50, validates) and seed: `gnnpot finetune`
with a training of the same model from scratch, the same batches and as many steps. A cell that is done is not done
again: the same command goes on where it was stopped. Writes FOLDER/cells/*.json, and from them `efficiency.json`,
`efficiency.md` and `curves.svg`.
"""

import argparse
import contextlib
import json
import math
import os
import shutil
import sys
import time
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import ase
import numpy as np
from joblib import Parallel, delayed

from gnnpot import finetune, read
from gnnpot.data.writers import write_extxyz
from gnnpot.errors import GnnpotError

SYSTEMS: dict[str, tuple[tuple[str, ...], str | None]] = {
    "Si": (("mlearn/Si_train.xyz",), "mlearn/Si_test.xyz"),
    "Li": (("mlearn/Li_train.xyz",), "mlearn/Li_test.xyz"),
    "Cu": (("mlearn/Cu_train.xyz.gz",), "mlearn/Cu_test.xyz"),
    "LGPS": (("lgps/LGPS_50atom_PBE_part1.xyz.gz", "lgps/LGPS_50atom_PBE_part2.xyz.gz"), None),
    "GaN": (("gan_charged/pristine-64atom-121.xyz.gz",), None),
}
"""Training files, and the test file; without one `N_TEST` frames are drawn from the former, the same for all seeds."""

N_TEST = 60
MOST_VALIDATING = 50
MODELS = ("base_refitted", "finetuned", "scratch")
ERRORS = {"energy": "energy_mae_mev_per_atom", "forces": "forces_mae_mev_per_ang", "stress": "stress_mae_gpa"}


def frames_of(system: str, data: Path) -> tuple[list[ase.Atoms], list[ase.Atoms]]:
    """Frames to learn from and to test on."""
    files, test = SYSTEMS[system]
    frames = list(read([data / file for file in files]))
    if test is not None:
        return frames, list(read(data / test))
    order = np.random.default_rng(0).permutation(len(frames))
    return [frames[k] for k in np.sort(order[N_TEST:])], [frames[k] for k in np.sort(order[:N_TEST])]


def n_validating(n: int) -> int:
    """Validation structures among N labeled ones."""
    return min(MOST_VALIDATING, max(1, round(0.2 * n)))


def write_cell(folder: Path, system: str, n: int | None, seed: int, data: Path) -> int:
    """Files of a cell; smaller N are the beginnings of larger ones of the same seed. Returns N."""
    frames, test = frames_of(system, data)
    order = np.random.default_rng([1, seed]).permutation(len(frames))[:n]
    cut = n_validating(len(order))
    write_extxyz(folder / "val.extxyz", [frames[k] for k in order[:cut]])
    write_extxyz(folder / "train.extxyz", [frames[k] for k in order[cut:]])
    write_extxyz(folder / "test.extxyz", test)
    return len(order)


def config_of(folder: Path, n_train: int, seed: int, options: argparse.Namespace) -> dict[str, Any]:
    """Configuration of a cell: as many steps, and as many new structures in each, for any N, with replay or not."""
    epochs = math.ceil(options.steps / math.ceil(n_train / options.batch_size))
    return {
        "checkpoint": str(options.checkpoint),
        "data": {f"{part}_path": str(folder / f"{part}.extxyz") for part in ("train", "val", "test")},
        "trainer": {"max_epochs": epochs, "progress": False},
        "batch_size": options.batch_size * (1 if options.replay is None else 2),
        "compare": {"scratch": options.scratch},
        "replay": {"path": options.replay, "fraction": 0.5},
        "forgetting": {"path": options.forgetting},
        "seed": seed,
        "run_dir": str(folder / "run"),
    }


def run_cell(name: str, system: str, n: int | None, seed: int, options: argparse.Namespace) -> None:
    """One fine-tuning with its training from scratch; writes the errors of both on the test structures."""
    folder = Path(options.folder) / "cells" / name
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    started = time.monotonic()
    n_labeled = write_cell(folder, system, n, seed, Path(options.data))
    config = config_of(folder, n_labeled - n_validating(n_labeled), seed, options)
    with (folder / "log.txt").open("w", encoding="utf-8") as log, contextlib.redirect_stdout(log):
        warnings.filterwarnings("ignore", category=Warning, module="gnnpot")
        try:
            metrics = finetune(config).metrics
        except GnnpotError as error:
            sys.stderr.write(f"{name}: {error}\n")
            return
    account = metrics["finetuning"]
    errors = {
        model: {short: account["models"][model]["test"].get(key) for short, key in ERRORS.items()}
        for model in MODELS
        if model in account["models"]
    }
    cell = {"system": system, "n": n_labeled, "asked": n, "seed": seed, "kept": account["kept"], "test": errors}
    cell |= {
        "steps": metrics["timing"]["steps"],
        "training_s": metrics["timing"]["training_s"],
        "seconds": round(time.monotonic() - started, 1),
        "checkpoint": config["checkpoint"],
    }
    cell["forgetting"] = account.get("forgetting_ratio")
    temporary = folder.with_suffix(".tmp")
    temporary.write_text(json.dumps(cell, indent=1) + "\n", encoding="utf-8")
    temporary.replace(folder.with_suffix(".json"))
    shutil.rmtree(folder)


def main() -> None:
    """Run what is missing, then write tables and curves of all that is there."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoint")
    parser.add_argument("folder")
    parser.add_argument("--data", default=os.environ.get("GNNPOT_DATA", "."))
    parser.add_argument("--systems", nargs="+", default=list(SYSTEMS), choices=list(SYSTEMS))
    parser.add_argument("--sizes", nargs="+", default=["5", "10", "20", "50", "100", "all"])
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--steps", type=int, default=600)
    parser.add_argument("--batch-size", type=int, default=4)
    parser.add_argument("--replay", help="frames of the first training to mix in, or shipped")
    parser.add_argument("--forgetting", help="frames held out of the first training; those shipped, if any")
    parser.add_argument("--jobs", type=int, default=1)
    options = parser.parse_args()
    options.scratch = True
    sizes: Sequence[int | None] = [None if size == "all" else int(size) for size in options.sizes]
    cells: list[tuple[str, str, int | None, int]] = [
        (f"{system}-{n or 'all'}-{seed}", system, n, seed)
        for n in sizes
        for seed in options.seeds
        for system in options.systems
    ]
    run_cells(cells, options)
    write_summary(Path(options.folder))


def run_cells(cells: Sequence[tuple[str, str, int | None, int]], options: argparse.Namespace) -> list[dict[str, Any]]:
    """Run those of the cells (name, system, N, seed) that are not done; returns what is there of all."""
    files = [Path(options.folder) / "cells" / f"{cell[0]}.json" for cell in cells]
    missing = [cell for cell, file in zip(cells, files, strict=True) if not file.is_file()]
    print(f"{len(cells)} cells, {len(missing)} to run")
    Parallel(n_jobs=options.jobs, verbose=10)(delayed(run_cell)(*cell, options) for cell in missing)
    return [json.loads(file.read_text(encoding="utf-8")) for file in files if file.is_file()]


def write_summary(folder: Path) -> None:
    """Tables and curves of the cells that are done."""
    from efficiency import curves_figure, summary_of, tables_of

    found: list[dict[str, Any]] = [json.loads(path.read_text()) for path in sorted((folder / "cells").glob("*.json"))]
    if not found:
        print("no cell is done")
        return
    summary = summary_of(found)
    (folder / "efficiency.json").write_text(json.dumps(summary, indent=1) + "\n", encoding="utf-8")
    text = tables_of(summary)
    (folder / "efficiency.md").write_text(text, encoding="utf-8")
    (folder / "curves.svg").write_bytes(curves_figure(summary).image)
    print(text)


if __name__ == "__main__":
    main()

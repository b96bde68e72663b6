"""Pretrained and fine-tuned models beside CHGNet 0.3.0 (413 k parameters): errors and time on the same frames.

    python beside_chgnet.py held-out FOLDER CHECKPOINT [CHECKPOINT ...]     # FOLDER: mp_train.xyz and mp_test.xyz
    python beside_chgnet.py finetune FOLDER CHECKPOINT --system GaN --n 100 --steps 600

Needs an environment that has both, as benchmarks/speed/compare.py makes one (`pip install chgnet`, BSD-3). One thread.

CHGNet has trained on most of the frames of MPtrj, the held-out ones of ours among them. Its energies are those with the
corrections of Materials Project: a shift of each element, fitted to training frames, brings them to the labels here.
For the fine-tuning they are brought to CHGNet's before; its own trainer takes as many steps of as many structures, and
the epoch of the lowest force error on the validation structures counts. Writes FOLDER/chgnet-*.md.
"""

import argparse
import math
import os
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import ase
import ase.io
import numpy as np
import torch
from chgnet.data.dataset import StructureData, collate_graphs
from chgnet.model import CHGNet
from chgnet.model.dynamics import CHGNetCalculator
from chgnet.trainer import Trainer
from data_efficiency import SYSTEMS, config_of, n_validating, write_cell
from pymatgen.io.ase import AseAtomsAdaptor
from torch.utils.data import DataLoader

from gnnpot import Calculator, finetune, load, predict
from gnnpot.data.labels import labels_of
from gnnpot.keys import GPA_PER_EV_PER_CUBIC_ANGSTROM
from gnnpot.report.formatting import significant
from gnnpot.report.metrics import error_metrics
from gnnpot.report.model_card import held_out_table, source_errors
from gnnpot.report.page import Column, Table
from gnnpot.report.parity import parity_data

JUDGED = ("energy", "forces", "stress")
TIMED = 30
"""Frames, or steps, over which the time is taken."""

Predictions = list[dict[str, Any]]


def predicted_by_chgnet(model: CHGNet, frames: Sequence[ase.Atoms], shifts: np.ndarray | None = None) -> Predictions:
    """Energy (eV, plus a shift of each atomic number), forces and stress (eV/Å³)."""
    structures = [AseAtomsAdaptor.get_structure(atoms) for atoms in frames]
    found = model.predict_structure(structures, task="efs", batch_size=4)
    found = found if isinstance(found, list) else [found]
    zeros = np.zeros(119) if shifts is None else shifts
    return [
        {
            "energy": float(p["e"]) * len(atoms) + zeros[atoms.numbers].sum(),
            "forces": np.asarray(p["f"], dtype=float),
            "stress": np.asarray(p["s"], dtype=float) / GPA_PER_EV_PER_CUBIC_ANGSTROM,
        }
        for atoms, p in zip(frames, found, strict=True)
    ]


def fitted_shifts(model: CHGNet, frames: Sequence[ase.Atoms]) -> np.ndarray:
    """Shift of each atomic number, eV, that brings CHGNet's energies nearest to the labels per atom; 0 of others."""
    known = [atoms for atoms in frames if "energy" in labels_of(atoms)]
    counts = np.array([np.bincount(atoms.numbers, minlength=119) / len(atoms) for atoms in known])
    predicted = predicted_by_chgnet(model, known)
    errors = [(labels_of(a)["energy"] - p["energy"]) / len(a) for a, p in zip(known, predicted, strict=True)]
    return np.linalg.lstsq(counts, np.array(errors), rcond=1e-7)[0]


def seconds_per_atom(calculator: Any, frames: Sequence[ase.Atoms]) -> float:
    """Processor time of energy, forces and stress of frames one by one, neighbor lists included, per atom."""
    random = np.random.default_rng(0)
    seconds = []
    for atoms in [frames[0], frames[0], *frames]:
        moved = atoms.copy()
        moved.positions += 0.01 * random.normal(size=moved.positions.shape)
        moved.calc = calculator
        started = time.process_time()
        moved.get_forces()
        seconds.append(time.process_time() - started)
    return sum(seconds[2:]) / sum(map(len, frames))


def held_out(folder: Path, checkpoints: Sequence[str], n_fitted: int) -> str:
    """Errors by source and time per atom of CHGNet and of checkpoints on the held-out frames."""
    frames = list(ase.io.iread(folder / "mp_test.xyz", ":"))
    chgnet = CHGNet.load(use_device="cpu", verbose=False)
    train = list(ase.io.iread(folder / "mp_train.xyz", ":"))
    drawn = np.random.default_rng(0).permutation(len(train))[:n_fitted]
    shifts = fitted_shifts(chgnet, [train[k] for k in drawn])
    models: dict[str, tuple[Predictions, Any]] = {
        "CHGNet 0.3.0": (predicted_by_chgnet(chgnet, frames, shifts), CHGNetCalculator(chgnet, use_device="cpu"))
    }
    for name in checkpoints:
        models[Path(name).name] = (list(predict(load(name), frames, list(JUDGED))), Calculator(name))
    rows, times = {}, []
    kinds = [atoms.info["config_type"] for atoms in frames]
    for name, (found, calculator) in models.items():
        part = parity_data([labels_of(a) for a in frames], found, [a.numbers for a in frames], kinds)
        rows |= {f"{source}: {name}": errors for source, errors in source_errors(part).items()}
        times.append((name, seconds_per_atom(calculator, frames[:TIMED])))
    ordered = {key: rows[key] for key in sorted(rows, key=lambda key: key.partition(": ")[0])}
    return f"{held_out_table(ordered, 'source: model').markdown()}\n\n{times_table(times).markdown()}\n"


def times_table(times: Sequence[tuple[str, float]]) -> Table:
    """Milliseconds per atom and step, and the ratio to the first one."""
    columns = (Column("model", is_number=False), Column("ms per atom and step"), Column("of the first"))
    return Table(columns, tuple((n, significant(1000 * t), f"1/{significant(times[0][1] / t)}") for n, t in times))


def loader_of(frames: Sequence[ase.Atoms], shifts: np.ndarray, batch_size: int, has_stress: bool) -> DataLoader:
    """Structures for CHGNet's trainer: energies per atom on its zero, stress in kbar as VASP gives it."""
    labels = [labels_of(atoms) for atoms in frames]
    energies = [(x["energy"] - shifts[a.numbers].sum()) / len(a) for a, x in zip(frames, labels, strict=True)]
    kbar = -10.0 * GPA_PER_EV_PER_CUBIC_ANGSTROM
    stresses = [kbar * np.asarray(x["stress"]) for x in labels] if has_stress else None
    structures = [AseAtomsAdaptor.get_structure(atoms) for atoms in frames]
    data = StructureData(structures, energies, [x["forces"] for x in labels], stresses=stresses)
    return DataLoader(data, batch_size=batch_size, collate_fn=collate_graphs, shuffle=True)


def finetuned_chgnet(parts: dict[str, list[ase.Atoms]], folder: Path, asked: argparse.Namespace) -> Predictions:
    """Test predictions of CHGNet after as many steps by its own trainer."""
    model = CHGNet.load(use_device="cpu", verbose=False)
    shifts = fitted_shifts(model, parts["train"])
    has_stress = all("stress" in labels_of(atoms) for part in ("train", "val") for atoms in parts[part])
    trainer = Trainer(
        model,
        targets="efs" if has_stress else "ef",
        epochs=math.ceil(asked.steps / math.ceil(len(parts["train"]) / asked.batch_size)),
        learning_rate=asked.learning_rate,
        use_device="cpu",
        torch_seed=asked.seed,
        data_seed=asked.seed,
    )
    train, val = (loader_of(parts[part], shifts, asked.batch_size, has_stress) for part in ("train", "val"))
    saved = folder / "chgnet"
    trainer.train(train, val, save_dir=str(saved))
    (best,) = saved.glob("bestF_*")
    return predicted_by_chgnet(CHGNet.from_file(str(best)), parts["test"], shifts)


def finetuning(folder: Path, checkpoint: str, asked: argparse.Namespace) -> str:
    """Errors on the user's system before and after fine-tuning, and time per step, of both."""
    cell = folder / f"{asked.system}-{asked.n}-{asked.seed}"
    cell.mkdir(parents=True, exist_ok=True)
    n_labeled = write_cell(cell, asked.system, asked.n, asked.seed, Path(asked.data))
    parts = {part: list(ase.io.iread(cell / f"{part}.extxyz", ":")) for part in ("train", "val", "test")}
    options = argparse.Namespace(**vars(asked), checkpoint=checkpoint, replay=None, forgetting=None, scratch=False)
    result = finetune(config_of(cell, n_labeled - n_validating(n_labeled), asked.seed, options))
    chgnet = CHGNet.load(use_device="cpu", verbose=False)
    shifts = fitted_shifts(chgnet, parts["train"])
    account = result.metrics["finetuning"]["models"]
    rows = {
        "CHGNet 0.3.0, re-fitted": errors_of(parts["test"], predicted_by_chgnet(chgnet, parts["test"], shifts)),
        "CHGNet 0.3.0, fine-tuned": errors_of(parts["test"], finetuned_chgnet(parts, cell, asked)),
        f"{Path(checkpoint).name}, re-fitted": account["base_refitted"]["test"],
        f"{Path(checkpoint).name}, fine-tuned": account["finetuned"]["test"],
    }
    steps = [parts["test"][0]] * TIMED
    times = [
        ("CHGNet 0.3.0", seconds_per_atom(CHGNetCalculator(chgnet, use_device="cpu"), steps)),
        (Path(checkpoint).name, seconds_per_atom(Calculator(result.model), steps)),
    ]
    counts = {"n_structures": len(parts["test"]), "n_atoms": sum(map(len, parts["test"]))}
    table = held_out_table({name: {**row, **counts} for name, row in rows.items()}, "model")
    return f"{table.markdown()}\n\n{times_table(times).markdown()}\n"


def errors_of(frames: Sequence[ase.Atoms], found: Predictions) -> dict[str, Any]:
    """Errors of predictions."""
    return error_metrics([labels_of(atoms) for atoms in frames], found, [atoms.numbers for atoms in frames])


def main() -> None:
    """Compare, print, and write down."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("held-out", "finetune"))
    parser.add_argument("folder", type=Path)
    parser.add_argument("checkpoints", nargs="+")
    parser.add_argument("--fitted", type=int, default=600, help="training frames to which CHGNet's zero is fitted")
    parser.add_argument("--data", default=os.environ.get("GNNPOT_DATA", "."))
    parser.add_argument("--system", default="GaN", choices=list(SYSTEMS))
    parser.add_argument("--n", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--steps", type=int, default=600)
    parser.add_argument("--batch-size", type=int, default=4)
    parser.add_argument("--learning-rate", type=float, default=1e-3, help="of CHGNet's trainer")
    asked = parser.parse_args()
    torch.set_num_threads(1)
    torch.set_default_dtype(torch.float32)
    work: Callable[[], str] = {
        "held-out": lambda: held_out(asked.folder, asked.checkpoints, asked.fitted),
        "finetune": lambda: finetuning(asked.folder, asked.checkpoints[0], asked),
    }[asked.what]
    text = work()
    name = "held_out" if asked.what == "held-out" else f"{asked.system}-{asked.n}"
    (asked.folder / f"chgnet-{name}.md").write_text(text, encoding="utf-8")
    print(text)


if __name__ == "__main__":
    main()

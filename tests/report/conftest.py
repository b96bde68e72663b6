"""A run directory as a training leaves it, with errors that are known."""

import json
from pathlib import Path

import numpy as np
import pytest

from gnnpot.report.metrics import part_metrics
from gnnpot.report.parity import ParityData, parity_data, save_parity

N_ATOMS = (3, 12, 12, 3, 12)


def made_up_part(seed: int, name: str = "Li2O.xyz", kind: str = "rattled") -> ParityData:
    """Five structures of Li2O with energies, forces and stress."""
    rng = np.random.default_rng(seed)
    numbers = [np.array([3, 3, 8] * (n // 3)) for n in N_ATOMS]
    labels, predictions = [], []
    for n in N_ATOMS:
        energy, forces, stress = -286.0 * n / 3 + rng.normal(), rng.normal(size=(n, 3)), rng.normal(size=(3, 3)) / 100
        labels.append({"energy": energy, "forces": forces, "stress": stress})
        predictions.append(
            {
                "energy": energy + 0.001 * n * rng.normal(),
                "forces": forces + 0.02 * rng.normal(size=(n, 3)),
                "stress": stress + 0.0005 * rng.normal(size=(3, 3)),
            }
        )
    kinds = [kind, None, kind, "strained", "strained"]
    frames = [10 * seed + k for k in range(5)]
    return parity_data(labels, predictions, numbers, kinds, frames, [f"{name}, frame {k}" for k in frames])


@pytest.fixture
def parts() -> dict[str, ParityData]:
    return {part: made_up_part(seed) for seed, part in enumerate(("train", "val", "test"))}


@pytest.fixture
def run_dir(tmp_path: Path, parts: dict[str, ParityData]) -> Path:
    metrics = {part: part_metrics(data) for part, data in parts.items()}
    metrics["timing"] = {"training_s": 151.0, "peak_memory_mb": 512.3}
    metrics["provenance"] = {"gnnpot": "0.1.0", "cpu": "a processor", "threads": 2, "data_sha256": "ab" * 32, "seed": 7}
    (tmp_path / "metrics.json").write_text(json.dumps(metrics), encoding="utf-8")
    split = {"train": list(range(40)), "val": [40, 41], "test": [42], "kind": "random", "seed": 7}
    (tmp_path / "split.json").write_text(json.dumps(split), encoding="utf-8")
    (tmp_path / "config.yaml").write_text(
        "model:\n  _target_: gnnpot.models.schnet.SchNet\ndata:\n  path: somewhere/Li2O.xyz\n", encoding="utf-8"
    )
    rows = "".join(
        f"{e},{e * 10},0.001,{1 / (e + 1)},{'' if e % 2 else 2 / (e + 1)},{30 / (e + 1)}\n" for e in range(9)
    )
    header = "epoch,step,learning_rate,train_loss,val_loss,val_forces_mae_mev_per_ang\n"
    (tmp_path / "log.csv").write_text(header + rows, encoding="utf-8")
    save_parity(tmp_path / "predictions.npz", parts)
    return tmp_path

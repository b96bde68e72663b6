"""Share of a training epoch that is not spent on waiting for batches: `python loader.py DATA`.

Wall time, mlearn's silicon, batches of 4. A thread reads a batch from memory-mapped files while the one before is
trained on, so a second core must be idle. `gnnpot fit` writes the same time as ``waiting_for_data_s``.
"""

import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from ase import Atoms

from gnnpot.data.readers import read
from gnnpot.data.store import cached_store
from gnnpot.models.gnnff import GNNFF
from gnnpot.models.hdnnp import HDNNP
from gnnpot.models.potential import Potential
from gnnpot.models.properties import derive
from gnnpot.models.schnet import SchNet
from gnnpot.training.batches import BatchOrder, TrainingBatches

N_FRAMES = 60


def utilisation(model: Potential, frames: list[Atoms]) -> tuple[float, float]:
    """Seconds of waiting for batches, and of the whole epoch."""
    with tempfile.TemporaryDirectory() as folder:
        store = cached_store(frames, model.cutoff, model.precompute, model.precomputes_by, Path(folder))
        batches = TrainingBatches(store, BatchOrder(np.arange(len(store)), 4, 0, store.n_edges), torch.float32)
        optimizer = torch.optim.Adam(model.parameters())
        names = ["forces"] if "forces" in model.outputs else ["energy", "forces"]
        for epoch in range(2):
            batches.sampler.set_epoch(epoch)
            batches.waited_seconds, start = 0.0, time.perf_counter()
            for batch in batches:
                found = derive(model, batch.graph, names, differentiable=True)
                loss = sum((found[name] - getattr(batch.graph, name)).square().mean() for name in names)
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
        return batches.waited_seconds, time.perf_counter() - start


def main() -> None:
    """Print a row of each model."""
    torch.set_num_threads(1)
    frames = read(Path(sys.argv[1]) / "mlearn" / "Si_train.xyz")[:N_FRAMES]
    print("| model | waiting, s | epoch, s | share of training |\n|---|---:|---:|---:|")
    for model in (HDNNP(["Si"], 5.5), SchNet(["Si"]), GNNFF(["Si"])):
        waited, epoch = utilisation(model, frames)
        print(f"| {model.title} | {waited:.3f} | {epoch:.3f} | {100 * (1 - waited / epoch):.1f} % |", flush=True)


if __name__ == "__main__":
    main()

"""Share of a training epoch that is spent on getting batches from the store, and the rest: `python loader.py DATA`.

Processor times of one process, so that others on the machine do not count; mlearn's silicon, batches of 4.
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
from gnnpot.models.potential import Potential, derive
from gnnpot.models.schnet import SchNet
from gnnpot.training.batches import BatchOrder, TrainingBatches

N_FRAMES = 60


def utilisation(model: Potential, frames: list[Atoms]) -> tuple[float, float]:
    """Seconds in the loader and in the steps, of one epoch."""
    with tempfile.TemporaryDirectory() as folder:
        store = cached_store(frames, model.cutoff, model.precompute, model.precomputes_by, Path(folder))
        batches = TrainingBatches(store, BatchOrder(np.arange(len(store)), 4, 0, store.n_edges), torch.float32)
        optimizer = torch.optim.Adam(model.parameters())
        names = ["forces"] if "forces" in model.outputs else ["energy", "forces"]
        spent = [0.0, 0.0]
        for epoch in range(2):
            batches.sampler.set_epoch(epoch)
            spent, start = [0.0, 0.0], time.process_time()
            for batch in batches:
                loaded = time.process_time()
                found = derive(model, batch.graph, names, differentiable=True)
                loss = sum((found[name] - getattr(batch.graph, name)).square().mean() for name in names)
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                stepped = time.process_time()
                spent[0] += loaded - start
                spent[1] += stepped - loaded
                start = stepped
    return spent[0], spent[1]


def main() -> None:
    """Print a row of each model."""
    torch.set_num_threads(1)
    frames = read(Path(sys.argv[1]) / "mlearn" / "Si_train.xyz")[:N_FRAMES]
    print("| model | loading, s | training, s | share of training |\n|---|---:|---:|---:|")
    for model in (HDNNP(["Si"]), SchNet(["Si"]), GNNFF(["Si"])):
        loading, training = utilisation(model, frames)
        share = training / (loading + training)
        print(f"| {model.title} | {loading:.3f} | {training:.3f} | {100 * share:.1f} % |", flush=True)


if __name__ == "__main__":
    main()

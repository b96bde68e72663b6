"""Exponential moving average of the weights: what is validated and kept."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import lightning
import torch
from torch import nn


class WeightAverage:
    """Running average of trainable weights, a_t = d_t a_{t-1} + (1 - d_t) w_t, d_t = min(d, (1 + t)/(10 + t)).

    The first averages forget quickly, so that the starting weights leave no trace (the warm-up of TensorFlow's
    ``ExponentialMovingAverage``).
    """

    def __init__(self, module: nn.Module, decay: float) -> None:
        self.decay = decay
        self.n_updates = 0
        self._weights = [p for p in module.parameters() if p.requires_grad]
        self._averages = [p.detach().clone() for p in self._weights]

    @torch.no_grad()
    def update(self) -> None:
        """Take the present weights into the average."""
        self.n_updates += 1
        decay = min(self.decay, (1.0 + self.n_updates) / (10.0 + self.n_updates))
        self._to_device()
        torch._foreach_lerp_(self._averages, [p.detach() for p in self._weights], 1.0 - decay)

    @torch.no_grad()
    def restart(self) -> None:
        """Forget all weights but the present ones."""
        self.n_updates = 0
        self._averages = [p.detach().clone() for p in self._weights]

    @contextmanager
    def applied(self) -> Iterator[None]:
        """Put the averages in place of the weights for a while."""
        self._swap()
        try:
            yield
        finally:
            self._swap()

    def state_dict(self) -> dict[str, Any]:
        """Averages and their count."""
        return {"n_updates": self.n_updates, "averages": [a.clone() for a in self._averages]}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take over saved averages."""
        self.n_updates = state["n_updates"]
        self._averages = [a.clone() for a in state["averages"]]

    @torch.no_grad()
    def _swap(self) -> None:
        self._to_device()
        for weight, average in zip(self._weights, self._averages, strict=True):
            kept = weight.clone()
            weight.copy_(average)
            average.copy_(kept)

    def _to_device(self) -> None:
        if self._averages and self._averages[0].device != self._weights[0].device:
            self._averages = [a.to(w.device) for a, w in zip(self._averages, self._weights, strict=True)]


class Averaging(lightning.Callback):
    """Update a `WeightAverage` after every step and save it with the training."""

    def __init__(self, average: WeightAverage) -> None:
        self.average = average

    def on_train_batch_end(
        self,
        trainer: lightning.Trainer,
        pl_module: lightning.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
    ) -> None:
        """Take the weights of this step in."""
        self.average.update()

    def state_dict(self) -> dict[str, Any]:
        """State of the average."""
        return self.average.state_dict()

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restore the average."""
        self.average.load_state_dict(state_dict)

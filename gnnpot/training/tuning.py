"""What sets a fine-tuning apart from a training: rates by depth, and old structures among the new ones."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch

from gnnpot.errors import ConfigError
from gnnpot.models.potential import Potential
from gnnpot.training.batches import BatchOrder, Indices


@dataclass(frozen=True)
class Tuning:
    """How a fine-tuning differs from a training.

    ``layer_decay``: factor of the learning rate from each layer to the one before it. ``replay``: numbers of old
    structures in the store. ``replay_share``: their share of the structures of an epoch.
    """

    layer_decay: float = 1.0
    replay: Indices = field(default_factory=lambda: np.zeros(0, dtype=np.int64))
    replay_share: float = 0.0

    def __post_init__(self) -> None:
        if not 0.0 < self.layer_decay <= 1.0:
            raise ConfigError(f"layer_decay={self.layer_decay} must be above 0 and at most 1 (one rate for all)")
        if not 0.0 <= self.replay_share < 1.0:
            raise ConfigError(f"replay.fraction={self.replay_share} must be at least 0 and below 1")


class ReplayOrder(BatchOrder):
    """Batches of which each holds old structures besides the new ones.

    An epoch has all new structures once, in the batches of `BatchOrder`, and share/(1 - share) times as many old ones,
    drawn anew in every epoch, by seed and epoch alone, none again before all others.

    >>> order = ReplayOrder(np.arange(4), 2, 0, None, replay=np.arange(4, 9), share=0.5)
    >>> [int((batch >= 4).sum()) for batch in order.batches(epoch=0)]
    [2, 2]
    """

    def __init__(
        self, indices: Indices, batch_size: int, seed: int, n_edges: Indices | None, replay: Indices, share: float
    ) -> None:
        super().__init__(indices, batch_size, seed, n_edges)
        self.replay = replay
        self.n_replayed = round(len(indices) * share / (1.0 - share))

    def batches(self, epoch: int) -> list[Indices]:
        """Store indices of every batch of an epoch, over all processes."""
        random = np.random.default_rng([self.seed, epoch, 1])
        n_rounds = -(-self.n_replayed // len(self.replay))
        drawn = np.concatenate([random.permutation(self.replay) for _ in range(n_rounds)] or [self.replay[:0]])
        shares = np.array_split(drawn[: self.n_replayed], self.n_batches)
        own = super().batches(epoch)
        return [np.sort(np.concatenate(parts)) for parts in zip(own, shares, strict=True)]


def batch_order(train: Indices, batch_size: int, seed: int, n_edges: Indices, tuning: Tuning | None) -> BatchOrder:
    """Batches of a training, or of a fine-tuning with replay, whose batches hold ``batch_size`` structures in all."""
    if tuning is None or not len(tuning.replay) or tuning.replay_share == 0.0:
        return BatchOrder(train, batch_size, seed, n_edges[train])
    own_size = own_batch_size(batch_size, tuning.replay_share)
    return ReplayOrder(train, own_size, seed, n_edges[train], tuning.replay, tuning.replay_share)


def own_batch_size(batch_size: int, replay_share: float) -> int:
    """New structures in a batch of ``batch_size`` of which a share is old, at least one."""
    return max(1, round(batch_size * (1.0 - replay_share)))


def rated_groups(
    potential: Potential, parameters: Sequence[torch.nn.Parameter], rate: float, decay: float
) -> list[dict[str, Any]]:
    """Groups of parameters with their learning rates: ``rate`` for the last layer, times ``decay`` for each before it.

    The layers are those of `Potential.layer_names`; the first group is that of the last layer that is trained.
    """
    if decay == 1.0:
        return [{"params": list(parameters), "lr": rate}]
    layers = potential.layer_names()
    depths: dict[int, list[torch.nn.Parameter]] = {}
    names = {id(parameter): name for name, parameter in potential.named_parameters()}
    for parameter in parameters:
        name = names[id(parameter)]
        number = next((k for k, layer in enumerate(layers) if name.startswith(tuple(f"{p}." for p in layer))), None)
        if number is None:
            raise ConfigError(f"layer_decay={decay}: {potential.title} does not say which layer {name} belongs to")
        depths.setdefault(len(layers) - 1 - number, []).append(parameter)
    return [{"params": depths[depth], "lr": rate * decay**depth} for depth in sorted(depths)]

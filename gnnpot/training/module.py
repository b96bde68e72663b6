"""The one Lightning module that trains every potential."""

import math
from collections.abc import Callable, Sequence
from typing import Any

import lightning
import numpy as np
import torch
from torch import Tensor

from gnnpot.errors import DivergenceError
from gnnpot.models.potential import Potential
from gnnpot.models.properties import derive
from gnnpot.nn.convolution import only_parameters
from gnnpot.training.agreement import over_processes
from gnnpot.training.batches import Indices, TrainingBatch
from gnnpot.training.losses import LossTerm, LossUnits, label_counts, loss_sums, total_loss


def _properties_without_labels(potential: Potential, trained: Sequence[str]) -> list[str]:
    """What the model computes along with those trained, so that no weight lacks a gradient (of zero)."""
    silent = [] if "energies" not in potential.outputs or "energy" in trained else ["energy"]
    if "polarization" in potential.outputs and not {"polarization", "born_along_direction"} & set(trained):
        silent.append("polarization")
    if potential.outputs & {"born_effective_charges"} and "born_effective_charges" not in trained:
        silent.append("born_effective_charges")
    return silent


CHECK_EVERY = 20
"""Steps between two looks at the losses on an accelerator, where each look waits for the device."""


class TrainingModule(lightning.LightningModule):
    """Loss and steps of a training.

    The steps are taken here and not by the trainer, whose hooks around each would cost a small model a tenth of
    its time.

    Args:
        potential: the model that is trained.
        terms: terms of the loss.
        units: what errors are divided by.
        seed: of the directions along which Born charges are compared.
        gradient_clip: largest norm of the gradient of a step.
        make_optimizer: from the parameters to their optimizer.
        name_frames: from store indices to the names of the frames, for messages.
    """

    def __init__(
        self,
        potential: Potential,
        terms: Sequence[LossTerm],
        units: LossUnits,
        seed: int,
        gradient_clip: float | None,
        make_optimizer: Callable[[list[torch.nn.Parameter]], torch.optim.Optimizer],
        name_frames: Callable[[Indices], str],
    ) -> None:
        super().__init__()
        self.potential = potential
        self.terms = tuple(terms)
        self.units = units
        self._seed = seed
        self.progress = 0.0
        self.automatic_optimization = False
        self._gradient_clip = gradient_clip
        self._parameters_trained = [p for p in potential.parameters() if p.requires_grad]
        self._make_optimizer = make_optimizer
        self._name_frames = name_frames
        self._epoch_sums = torch.zeros(len(self.terms), 3, dtype=torch.float64)
        self._indices: Indices = np.zeros(0, dtype=np.int64)
        self._unchecked: list[tuple[str, Tensor, Indices]] = []
        properties = [term.property for term in self.terms]
        self._has_directions = "born_effective_charges" in properties and "polarization" in potential.outputs
        if self._has_directions:
            properties[properties.index("born_effective_charges")] = "born_along_direction"
        self._silent = _properties_without_labels(potential, properties)
        self._properties = [*properties, *self._silent]

    def training_step(self, batch: TrainingBatch, batch_idx: int) -> None:
        """One step on one batch; over several processes, the sum of their losses is that of the whole batch."""
        own = label_counts(self.terms, batch.graph, self._has_directions)
        counts = over_processes(batch.weight * own, "sum")
        direction = self._directions(batch) if self._has_directions else None
        predicted = derive(self.potential, batch.graph, self._properties, direction=direction, differentiable=True)
        shown = predicted if direction is None else {**predicted, "direction": direction}
        sums = batch.weight * loss_sums(self.terms, shown, batch.graph, self.units)
        loss = total_loss(self.terms, sums, counts(), self.progress)
        self._epoch_sums = self._epoch_sums.to(sums.device) + sums.detach()
        self._indices = batch.indices
        self._watch("loss", loss.detach())
        for name in self._silent:
            if predicted[name].requires_grad:
                loss = loss + 0.0 * predicted[name].sum()
        self._step(self.trainer.world_size * loss)

    def _directions(self, batch: TrainingBatch) -> Tensor:
        """Random unit vectors, one for each structure: functions of seed, step and structure alone."""
        step = self.trainer.global_step
        draws = [np.random.default_rng([self._seed, step, k]).normal(size=3) for k in batch.own.tolist()]
        vectors = torch.from_numpy(np.stack(draws)).to(batch.graph.positions)
        return torch.nn.functional.normalize(vectors, dim=1)

    def take_epoch_sums(self) -> Tensor:
        """Sums of `loss_sums` since they were last taken, over all processes, ``(n_terms, 3)``."""
        self.check_losses()
        sums = over_processes(self._epoch_sums, "sum")()
        self._epoch_sums = torch.zeros_like(self._epoch_sums)
        return sums

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """Optimizer of the trainable weights."""
        return self._make_optimizer(self._parameters_trained)

    def _step(self, loss: Tensor) -> None:
        """Move the weights against the gradient, clipped if asked; a gradient that is no number moves nothing."""
        optimizer: Any = self.optimizers()
        optimizer.zero_grad()
        with only_parameters():
            self.manual_backward(loss)
        if self._gradient_clip is not None:
            norm = torch.nn.utils.clip_grad_norm_(self._parameters_trained, self._gradient_clip)
            self._watch("gradient", norm)
        optimizer.step()

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Save the sums of an epoch that is not over."""
        self.check_losses()
        checkpoint["epoch_sums"] = self._epoch_sums.clone()

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Restore the sums of an epoch that is not over."""
        self._epoch_sums = checkpoint["epoch_sums"]

    def check_losses(self) -> None:
        """Stop at a loss or gradient that is not a number, naming the frames of its batch.

        Raises:
            DivergenceError: that of a step since the last look is not finite.
        """
        unchecked, self._unchecked = self._unchecked, []
        for what, value, indices in unchecked:
            if not math.isfinite(float(value)):
                raise DivergenceError(
                    f"the {what} became {float(value)} in epoch {self.trainer.current_epoch + 1}, on the batch of "
                    f"{self._name_frames(indices)}. Look at these frames, or lower optimizer.lr or "
                    "trainer.gradient_clip"
                )

    def _watch(self, what: str, value: Tensor) -> None:
        self._unchecked.append((what, value, self._indices))
        if value.device.type == "cpu" or len(self._unchecked) >= CHECK_EVERY:
            self.check_losses()

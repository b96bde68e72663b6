"""The one Lightning module that trains every potential."""

import math
from collections.abc import Callable, Sequence
from typing import Any

import lightning
import numpy as np
import torch
from torch import Tensor

from gnnpot.errors import TrainingError
from gnnpot.models.potential import Potential, derive
from gnnpot.nn.convolution import only_parameters
from gnnpot.training.batches import Indices, TrainingBatch
from gnnpot.training.losses import LossTerm, loss_sums, total_loss

CHECK_EVERY = 20
"""Steps between two looks at the losses on an accelerator, where each look waits for the device."""


class TrainingModule(lightning.LightningModule):
    """Loss and steps of a training.

    The steps are taken here and not by the trainer, whose hooks around each would cost a small model a tenth of
    its time.

    Args:
        potential: the model that is trained.
        terms: terms of the loss.
        unit: s of the loss, eV/Å.
        gradient_clip: largest norm of the gradient of a step.
        make_optimizer: from the parameters to their optimizer.
        name_frames: from store indices to the names of the frames, for messages.
    """

    def __init__(
        self,
        potential: Potential,
        terms: Sequence[LossTerm],
        unit: float,
        gradient_clip: float | None,
        make_optimizer: Callable[[list[torch.nn.Parameter]], torch.optim.Optimizer],
        name_frames: Callable[[Indices], str],
    ) -> None:
        super().__init__()
        self.potential = potential
        self.terms = tuple(terms)
        self.unit = unit
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
        needs_energy = "energies" in potential.outputs and "energy" not in properties
        self._properties = [*properties, "energy"] if needs_energy else properties

    def training_step(self, batch: TrainingBatch, batch_idx: int) -> None:
        """One step on one batch; over several processes, the sum of their losses is that of the whole batch."""
        predicted = derive(self.potential, batch.graph, self._properties, differentiable=True)
        sums = batch.weight * loss_sums(self.terms, predicted, batch.graph, self.unit)
        n_processes = self.trainer.world_size
        counts = sums[:, 2].detach().clone()
        if n_processes > 1:
            counts = self.trainer.strategy.reduce(counts, reduce_op="sum")
        loss = total_loss(self.terms, sums, counts, self.progress)
        self._epoch_sums = self._epoch_sums.to(sums.device) + sums.detach()
        self._indices = batch.indices
        self._watch("loss", loss.detach())
        if "energy" not in {term.property for term in self.terms} and "energy" in predicted:
            loss = loss + 0.0 * predicted["energy"].sum()
        self._step(n_processes * loss)

    def take_epoch_sums(self) -> Tensor:
        """Sums of `loss_sums` since they were last taken, over all processes, ``(n_terms, 3)``."""
        self.check_losses()
        sums = self.trainer.strategy.reduce(self._epoch_sums, reduce_op="sum")
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
            TrainingError: that of a step since the last look is not finite.
        """
        unchecked, self._unchecked = self._unchecked, []
        for what, value, indices in unchecked:
            if not math.isfinite(float(value)):
                raise TrainingError(
                    f"the {what} became {float(value)} in epoch {self.trainer.current_epoch + 1}, on the batch of "
                    f"{self._name_frames(indices)}. Look at these frames, or lower optimizer.lr or "
                    "trainer.gradient_clip"
                )

    def _watch(self, what: str, value: Tensor) -> None:
        self._unchecked.append((what, value, self._indices))
        if value.device.type == "cpu" or len(self._unchecked) >= CHECK_EVERY:
            self.check_losses()

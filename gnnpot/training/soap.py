"""SOAP: Adam in the eigenbasis of the gradients' correlations, the default optimizer.

Vyas et al., "SOAP: Improving and Stabilizing Shampoo using Adam" (2024, arXiv:2409.11321). For a weight matrix W with
the gradient G of a step

    L ← β₃ L + (1 - β₃) G Gᵀ,   R ← β₃ R + (1 - β₃) Gᵀ G,   L = Q_L Λ_L Q_Lᵀ,   R = Q_R Λ_R Q_Rᵀ

and with a tilde for what is turned into these bases, G̃ = Q_Lᵀ G Q_R,

    M̃ ← β₁ M̃ + (1 - β₁) G̃,   V ← β₂ V + (1 - β₂) G̃ ⊙ G̃,   W ← W - η Q_L [M̃ / (√V + ε)] Q_Rᵀ

with Adam's corrections of the first steps. The bases follow L and R by a step of orthogonal iteration now and then.
Weights without two axes, and axes that are too long, take no basis: there it is Adam. So it is, too, among directions
that no gradient has pointed to: L and R are taken with a trace of a diagonal matrix (`TIE_BREAKER`), else rounding
would choose the basis there.
"""

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor

Axis = tuple[str, str, int]
AXES: tuple[Axis, ...] = (("left", "left_basis", 0), ("right", "right_basis", 1))
"""Names of the correlations of an axis and of their basis, and the number of the axis."""

TIE_BREAKER = 1e-9
"""Mean of the diagonal that is added to correlations, over their own; it falls from twice to zero times that."""


class SOAP(torch.optim.Optimizer):
    """Adam in the eigenbasis of Shampoo's preconditioner (equations at the head of this module).

    Args:
        params: weights, or groups of them.
        lr: learning rate η.
        betas: decay of the means of gradients (β₁) and of their squares (β₂).
        correlation_beta: β₃, decay of L and R.
        eps: ε.
        weight_decay: λ of decoupled decay, W ← W (1 - η λ) before a step.
        update_bases_every: steps between two looks at the bases.
        longest_axis: an axis longer than this takes no basis.

    Raises:
        ValueError: an argument outside of its range.

    >>> weight = torch.nn.Parameter(torch.eye(2))
    >>> optimizer = SOAP([weight], lr=0.1)
    >>> for _ in range(200):
    ...     optimizer.zero_grad()
    ...     (weight**2).sum().backward()
    ...     optimizer.step()
    >>> bool(weight.abs().max() < 0.1)
    True
    """

    def __init__(
        self,
        params: Iterable[torch.nn.Parameter] | Iterable[dict[str, Any]],
        lr: float = 0.003,
        betas: tuple[float, float] = (0.95, 0.95),
        correlation_beta: float = 0.95,
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        update_bases_every: int = 10,
        longest_axis: int = 1024,
    ) -> None:
        for name, value in (("betas", betas[0]), ("betas", betas[1]), ("correlation_beta", correlation_beta)):
            if not 0.0 <= value < 1.0:
                raise ValueError(f"{name}: {value} must be at least 0 and below 1")
        for name, value in (("lr", lr), ("eps", eps), ("weight_decay", weight_decay)):
            if value < 0.0:
                raise ValueError(f"{name}={value} must not be negative")
        if update_bases_every < 1:
            raise ValueError(f"update_bases_every={update_bases_every} must be at least 1 step")
        defaults = {
            "lr": lr,
            "betas": tuple(betas),
            "correlation_beta": correlation_beta,
            "eps": eps,
            "weight_decay": weight_decay,
            "update_bases_every": update_bases_every,
            "longest_axis": longest_axis,
        }
        super().__init__(params, defaults)

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:  # type: ignore[override]
        """Take a step; the first one of a weight only sets up its bases.

        Args:
            closure: computes the loss and its gradients anew.
        """
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            for weight in group["params"]:
                if weight.grad is not None:
                    self._update(weight, weight.grad, group)
        return loss

    def _update(self, weight: Tensor, gradient: Tensor, group: dict[str, Any]) -> None:
        state = self.state[weight]
        if not state:
            _start(state, gradient, group)
            return
        state["step"] += 1
        beta_1, beta_2 = group["betas"]
        axes = [axis for axis in AXES if axis[0] in state]
        turned = _into_bases(gradient, state, axes)
        mean, square = state["mean"], state["square"]
        mean.lerp_(turned, 1.0 - beta_1)
        square.mul_(beta_2).addcmul_(turned, turned, value=1.0 - beta_2)
        bias_1, bias_2 = 1.0 - beta_1 ** state["step"], 1.0 - beta_2 ** state["step"]
        move = mean / square.sqrt().add_(group["eps"])
        if group["weight_decay"]:
            weight.mul_(1.0 - group["lr"] * group["weight_decay"])
        weight.add_(_out_of_bases(move, state, axes), alpha=-group["lr"] * bias_2**0.5 / bias_1)
        for name, _, axis in axes:
            state[name].lerp_(_correlations(gradient, axis), 1.0 - group["correlation_beta"])
        if axes and state["step"] % group["update_bases_every"] == 0:
            _follow(state, axes)


def _start(state: dict[str, Any], gradient: Tensor, group: dict[str, Any]) -> None:
    state["step"] = 0
    state["mean"], state["square"] = torch.zeros_like(gradient), torch.zeros_like(gradient)
    if gradient.ndim != 2:
        return
    for name, basis, axis in AXES:
        if 1 < gradient.shape[axis] <= group["longest_axis"]:
            state[name] = (1.0 - group["correlation_beta"]) * _correlations(gradient, axis)
            state[basis] = torch.linalg.eigh(_without_ties(state[name]))[1].flip(1).contiguous()


def _correlations(gradient: Tensor, axis: int) -> Tensor:
    """G Gᵀ or Gᵀ G."""
    return gradient @ gradient.t() if axis == 0 else gradient.t() @ gradient


def _without_ties(correlations: Tensor) -> Tensor:
    """Correlations and a trace of falling numbers on their diagonal."""
    mean = correlations.diagonal().mean()
    falling = torch.linspace(2.0, 0.0, len(correlations), dtype=correlations.dtype, device=correlations.device)
    return correlations + torch.diag(TIE_BREAKER * mean * falling)


def _into_bases(values: Tensor, state: dict[str, Any], axes: list[Axis]) -> Tensor:
    """Q_Lᵀ X Q_R."""
    for _, basis, axis in axes:
        values = state[basis].t() @ values if axis == 0 else values @ state[basis]
    return values


def _out_of_bases(values: Tensor, state: dict[str, Any], axes: list[Axis]) -> Tensor:
    """Q_L X Q_Rᵀ."""
    for _, basis, axis in axes:
        values = state[basis] @ values if axis == 0 else values @ state[basis].t()
    return values


def _follow(state: dict[str, Any], axes: list[Axis]) -> None:
    """Turn the bases towards the eigenvectors of L and R, largest first, and the mean gradient along with them."""
    mean = _out_of_bases(state["mean"], state, axes)
    for name, basis, axis in axes:
        product = _without_ties(state[name]) @ state[basis]
        order = (state[basis] * product).sum(0).argsort(descending=True)
        state[basis] = torch.linalg.qr(product[:, order])[0]
        state["square"] = state["square"].index_select(axis, order)
    state["mean"] = _into_bases(mean, state, axes)

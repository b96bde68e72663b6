"""Low-rank adapters: a trained layer stays as it is and learns a small matrix of low rank beside its own."""

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from gnnpot.errors import ConfigError


class LowRank(nn.Module):
    """W + B A of a weight W ``(n_out, n_in)``, with A ``(rank, n_in)`` and B ``(n_out, rank)``.

    Hu et al., LoRA, ICLR 2022 (arXiv:2106.09685), with its scale in B. A is random of variance 1/n_in and B zero, so
    that the layer starts as it was.
    """

    def __init__(self, weight: Tensor, rank: int) -> None:
        super().__init__()
        n_out, n_in = weight.shape
        self.inward = nn.Parameter(torch.randn(rank, n_in, dtype=weight.dtype, device=weight.device) / n_in**0.5)
        self.outward = nn.Parameter(torch.zeros(n_out, rank, dtype=weight.dtype, device=weight.device))

    def forward(self, weight: Tensor) -> Tensor:
        """The weight that the layer uses, same shape."""
        return torch.addmm(weight, self.outward, self.inward)


def add_adapters(module: nn.Module, rank: int) -> int:
    """Freeze a module but for adapters of its trainable linear layers, which are added; returns how many there are.

    A layer whose smaller side is at most ``rank`` is trained as it is: an adapter would have more weights. Biases,
    embeddings and all other weights stay. `merge_adapters` makes an ordinary module again.

    Raises:
        ConfigError: a rank below 1, or no linear layer is left to train.

    >>> layers = nn.Sequential(nn.Linear(8, 8), nn.Linear(8, 1))
    >>> add_adapters(layers, rank=2), sum(p.numel() for p in layers.parameters() if p.requires_grad)
    (1, 40)
    """
    if rank < 1:
        raise ConfigError(f"adapter_rank={rank} must be at least 1, or null for none")
    layers = [part for part in module.modules() if isinstance(part, nn.Linear) and part.weight.requires_grad]
    for parameter in module.parameters():
        parameter.requires_grad_(False)
    n_adapters = 0
    for layer in layers:
        if min(layer.weight.shape) <= rank:
            layer.weight.requires_grad_(True)
        else:
            parametrize.register_parametrization(layer, "weight", LowRank(layer.weight, rank))
            n_adapters += 1
    if not layers:
        raise ConfigError(f"adapter_rank={rank}: freeze leaves no linear layer to train")
    return n_adapters


@torch.no_grad()
def merge_adapters(module: nn.Module) -> None:
    """Put an ordinary layer of weight W + B A in the place of every layer of a module that has an adapter.

    `torch.nn.utils.parametrize.remove_parametrizations` would do it for all copies of the module at once.
    """
    for parent in list(module.modules()):
        for name, part in list(parent.named_children()):
            if isinstance(part, nn.Linear) and parametrize.is_parametrized(part, "weight"):
                plain = nn.Linear(part.in_features, part.out_features, bias=part.bias is not None)
                plain.weight = nn.Parameter(part.weight.detach().clone())
                plain.bias = part.bias
                setattr(parent, name, plain.train(part.training))

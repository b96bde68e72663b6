"""One network for the atoms of all elements, which knows the element of the atom."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from gnnpot.data.graph import gather
from gnnpot.errors import ConfigError
from gnnpot.nn.element_properties import PROPERTIES, element_properties
from gnnpot.nn.layers import build_activation, mlp

N_EMBEDDING = 16
"""Numbers that stand for an element."""


class SharedNetwork(nn.Module):
    """y = MLP(σ((1 + g_z) ⊙ W x + s_z)), with gates g_z = P e_z and shifts s_z = Q e_z of the atom's element z.

    e_z is the sum of a learned vector, zero in the beginning, and a learned linear map of the element's properties
    (`gnnpot.nn.element_properties`): an element of few atoms begins as a relative of its neighbors in the periodic
    table. There is no constant in the last layer.

    Args:
        elements: atomic numbers.
        n_inputs: width of x.
        hidden: widths of the hidden layers.
        activation: σ, by its name.

    Raises:
        ConfigError: no hidden layer.

    >>> SharedNetwork([3, 8], 5, [4, 4], "silu")(torch.zeros(3, 5), torch.tensor([0, 1, 1])).shape
    torch.Size([3])
    """

    properties: Tensor

    def __init__(self, elements: Sequence[int], n_inputs: int, hidden: Sequence[int], activation: str) -> None:
        super().__init__()
        if not hidden:
            raise ConfigError("model.hidden=[] with model.network=shared: the element enters a hidden layer; give one")
        table = element_properties(elements, PROPERTIES[1:]).to(torch.get_default_dtype())
        self.register_buffer("properties", table, persistent=False)
        self.embedding = nn.Embedding(len(elements), N_EMBEDDING)
        nn.init.zeros_(self.embedding.weight)
        self.of_properties = nn.Linear(table.shape[1], N_EMBEDDING, bias=False)
        self.gates_and_shifts = nn.Linear(N_EMBEDDING, 2 * hidden[0])
        self.first = nn.Linear(n_inputs, hidden[0], bias=False)
        self.rest = nn.Sequential(build_activation(activation), *mlp([*hidden, 1], activation, last_bias=False))

    def forward(self, inputs: Tensor, types: Tensor) -> Tensor:
        """Output of every atom ``(n_atoms,)`` from inputs ``(n_atoms, n_inputs)`` and types ``(n_atoms,)``."""
        elements = self.embedding.weight + self.of_properties(self.properties)
        gates, shifts = gather(self.gates_and_shifts(elements), types).chunk(2, dim=1)
        outputs: Tensor = self.rest((1.0 + gates) * self.first(inputs) + shifts)
        return outputs[:, 0]

    def layer_names(self) -> list[tuple[str, ...]]:
        """Names of the parts that hold weights, a layer after the other."""
        rest = [(f"rest.{k}",) for k, part in enumerate(self.rest) if isinstance(part, nn.Linear)]
        return [("embedding", "of_properties", "gates_and_shifts", "first"), *rest]

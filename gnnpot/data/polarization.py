"""Polarizations of periodic cells: known up to e times lattice vectors."""

import torch
from torch import Tensor


def nearest_branch(polarization: Tensor, reference: Tensor, cell: Tensor, pbc: Tensor) -> Tensor:
    """P + e Σ_k n_k a_k with the integers n_k, over the periodic directions, that bring it nearest to a reference.

    The integers come from rounding in lattice coordinates, skewed cells included.

    Args:
        polarization: ``(n_structures, 3)``, e·Å; its gradient passes through.
        reference: the same shape.
        cell: lattice vectors, ``(n_structures, 3, 3)``, Å.
        pbc: which of them are periods, ``(n_structures, 3)``.

    >>> cell, pbc = 4.0 * torch.eye(3)[None], torch.tensor([[True, True, False]])
    >>> nearest_branch(torch.tensor([[0.5, -4.0, 9.0]]), torch.zeros(1, 3), cell, pbc)
    tensor([[0.5000, 0.0000, 9.0000]])
    """
    vectors = cell.to(polarization.dtype) * pbc[:, :, None]
    excess = (polarization - reference).detach()
    numbers = torch.einsum("sa,sak->sk", excess, torch.linalg.pinv(vectors)).round()
    return polarization - torch.einsum("sk,ska->sa", numbers, vectors)

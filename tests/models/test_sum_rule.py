"""The projection on ΣZ = Q·1."""

import numpy as np
import pytest
import torch

from gnnpot.data.graph import collate, graph_from_atoms
from gnnpot.models.heads import with_sum_rule
from tests.contract.conftest import rattled


@pytest.mark.parametrize("seed", range(8))
def test_the_projection_never_leads_away_from_labels_that_fulfill_the_rule(seed):
    """In every structure, by Pythagoras: |Z - label|² is that of the projected tensors and of the way there."""
    rng = np.random.default_rng(seed)
    frames = [rattled((1, 1, k), seed=k) for k in (1, 2, 3)]
    for atoms in frames:
        atoms.info["charge"] = float(rng.integers(-2, 4))
    graph = collate([graph_from_atoms(atoms, 3.0) for atoms in frames])
    labels, predictions = (torch.from_numpy(rng.normal(size=(graph.n_atoms, 3, 3))) for _ in range(2))
    labels = with_sum_rule(labels, graph)
    projected = with_sum_rule(predictions, graph)
    sizes = [len(atoms) for atoms in frames]
    pairs = ((predictions, labels), (projected, labels), (predictions, projected))
    for before, after, way in zip(*(((x - y) ** 2).split(sizes) for x, y in pairs), strict=True):
        assert after.sum() < before.sum()
        torch.testing.assert_close(before.sum(), after.sum() + way.sum(), rtol=1e-12, atol=0)
    torch.testing.assert_close(with_sum_rule(labels, graph), labels, rtol=0, atol=1e-12)

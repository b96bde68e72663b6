"""Final errors: a trained model against the labels of every part of the data, graph by graph from the store."""

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import torch

from gnnpot.data.graph import AtomicGraph
from gnnpot.data.store import GraphStore
from gnnpot.keys import PROPERTIES, TRAINABLE
from gnnpot.models.potential import Potential
from gnnpot.models.prediction import on_branch_of_labels, predict_graph
from gnnpot.models.properties import available_properties
from gnnpot.models.response import ResponsePotential
from gnnpot.report.parity import ParityData, parity_data
from gnnpot.training.batches import Indices
from gnnpot.training.datamodule import evaluation_batches
from gnnpot.training.heads import is_frozen
from gnnpot.training.losses import labelled


def trainable_properties(outputs: Iterable[str]) -> tuple[str, ...]:
    """Labels that a model of these outputs can be compared with.

    >>> trainable_properties({"energies"})
    ('energy', 'forces', 'stress')
    """
    given = available_properties(outputs)
    return tuple(name for name in TRAINABLE if name in given)


def learnable_properties(potential: Potential) -> tuple[str, ...]:
    """Labels from which a model learns: those that a weight has a say in that is not frozen."""
    if isinstance(potential, ResponsePotential) and is_frozen(potential.backbone):
        return trainable_properties(potential.head.outputs)
    return trainable_properties(potential.outputs)


def parity_of(
    potential: Potential,
    store: GraphStore,
    indices: Indices,
    names: Sequence[str],
    config_types: Sequence[str | None],
) -> ParityData:
    """Labels beside predictions for structures of the store.

    Args:
        potential: the model, in the precision it was trained in.
        store: graphs of all structures.
        indices: structures of this part.
        names: file and frame of every structure of the store.
        config_types: kind of every structure of the store.
    """
    labels: list[dict[str, Any]] = []
    predictions: list[dict[str, Any]] = []
    numbers: list[np.ndarray] = []
    properties = trainable_properties(potential.outputs)
    for batch in evaluation_batches(store.n_edges, indices):
        graph = store.batch(batch, torch.float64)
        of_batch = labels_of_graph(graph)
        found = predict_graph(potential, graph, properties)
        predictions += on_branch_of_labels(found, of_batch, graph.cell, graph.pbc)
        labels += of_batch
        sizes = torch.bincount(graph.batch, minlength=graph.n_structures).tolist()
        numbers += [part.numpy() for part in graph.atomic_numbers.split(sizes)]
    rows = indices.tolist()
    return parity_data(labels, predictions, numbers, [config_types[k] for k in rows], rows, [names[k] for k in rows])


def labels_of_graph(graph: AtomicGraph) -> list[dict[str, Any]]:
    """Labels of every structure of a batch; those a structure does not have are absent."""
    sizes = torch.bincount(graph.batch, minlength=graph.n_structures).tolist()
    parts: dict[str, Sequence[torch.Tensor]] = {}
    for name in TRAINABLE:
        values = torch.where(labelled(name, graph), getattr(graph, name), torch.nan)
        parts[name] = values.split(sizes) if PROPERTIES[name].level == "atom" else list(values)
    return [
        {name: part[k].numpy() for name, part in parts.items() if not bool(torch.isnan(part[k]).all())}
        for k in range(graph.n_structures)
    ]

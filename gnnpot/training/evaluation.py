"""Final errors: a trained model against the labels of every part of the data, graph by graph from the store."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from gnnpot.data.graph import AtomicGraph
from gnnpot.data.store import GraphStore
from gnnpot.keys import TRAINABLE
from gnnpot.models.potential import DERIVABLE, Potential
from gnnpot.models.prediction import predict_graph
from gnnpot.report.parity import ParityData, parity_data
from gnnpot.training.batches import Indices
from gnnpot.training.datamodule import evaluation_batches


def trainable_properties(potential: Potential | type[Potential]) -> tuple[str, ...]:
    """Labels that a model, or a class of models, can be compared with.

    >>> from gnnpot.models.schnet import SchNet
    >>> trainable_properties(SchNet(["Si"], cutoff=4.0))
    ('energy', 'forces', 'stress')
    """
    given = DERIVABLE if "energies" in potential.outputs else tuple(potential.outputs)
    return tuple(name for name in TRAINABLE if name in given)


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
    properties = trainable_properties(potential)
    for batch in evaluation_batches(store.n_edges, indices):
        graph = store.batch(batch, torch.float64)
        predictions += predict_graph(potential, graph, properties)
        labels += labels_of_graph(graph)
        sizes = torch.bincount(graph.batch, minlength=graph.n_structures).tolist()
        numbers += [part.numpy() for part in graph.atomic_numbers.split(sizes)]
    rows = indices.tolist()
    return parity_data(labels, predictions, numbers, [config_types[k] for k in rows], rows, [names[k] for k in rows])


def labels_of_graph(graph: AtomicGraph) -> list[dict[str, Any]]:
    """Labels of every structure of a batch; those a structure does not have are absent."""
    sizes = torch.bincount(graph.batch, minlength=graph.n_structures).tolist()
    forces = graph.forces.split(sizes)
    found: list[dict[str, Any]] = []
    for k in range(graph.n_structures):
        values = {"energy": graph.energy[k], "forces": forces[k], "stress": graph.stress[k]}
        found.append({name: v.numpy() for name, v in values.items() if not bool(torch.isnan(v).all())})
    return found

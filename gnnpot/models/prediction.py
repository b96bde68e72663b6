"""Predictions for many structures: batches of similar cost, one dict per frame in the order given."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import ase
import numpy as np
import torch
from torch import Tensor

from gnnpot.data.charges import refuse_without_charge
from gnnpot.data.graph import FIELDS, AtomicGraph, cast, collate, graph_from_atoms
from gnnpot.data.labels import frame_name
from gnnpot.data.polarization import nearest_branch
from gnnpot.errors import UnknownElementError
from gnnpot.models.potential import Potential
from gnnpot.models.properties import available_properties, derive
from gnnpot.nn.layers import ElementTable

Prediction = dict[str, Any]
"""``energy`` float eV, ``energies`` (n,), ``forces`` (n, 3), ``stress`` (3, 3) eV/Å³, ``polarization`` (3,) e·Å,
``born_effective_charges`` (n, 3, 3) e, ``extrapolations`` (n,): what was asked for."""

EVALUATION_EDGES = 60_000
"""Edges in a batch that is evaluated without training: enough to keep a core busy, little memory."""

EXTRAPOLATIONS = "extrapolations"
STRUCTURE_LEVEL = ("energy", "stress", "polarization")


def default_properties(model: Potential) -> tuple[str, ...]:
    """All that a model gives or derives.

    >>> from gnnpot.models.schnet import SchNet
    >>> default_properties(SchNet(["Si"], cutoff=4.0))
    ('energy', 'energies', 'forces', 'stress')
    """
    return available_properties(model.outputs)


def predict(
    model: Potential,
    frames: Sequence[ase.Atoms],
    properties: Iterable[str] | None = None,
    batch_size: int | None = None,
    progress: Callable[[int], None] | None = None,
) -> list[Prediction]:
    """Predict properties of frames, in the order given.

    Args:
        model: any potential.
        frames: structures.
        properties: names of properties; by default all that the model gives. ``extrapolations``, the inputs of every
            atom outside their range in the training set, is left out for a model without ranges.
        batch_size: structures evaluated together; None: as many as have `EVALUATION_EDGES` edges.
        progress: called with the number of structures done after each batch.

    Raises:
        PropertyNotAvailableError: the model cannot give a property.
        UnknownElementError: a structure holds an element that the model does not know.
        DataError: a structure without the total charge that the model takes, or without a volume for it.

    >>> from ase.build import bulk
    >>> from gnnpot.models.schnet import SchNet
    >>> predict(SchNet(["Si"], cutoff=4.0), [bulk("Si")])[0]["forces"].shape
    (2, 3)
    """
    wanted = tuple(properties) if properties is not None else default_properties(model)
    refuse_unfit(model, frames)
    order = sorted(range(len(frames)), key=lambda k: len(frames[k]))
    found: list[Prediction] = [{} for _ in frames]
    n_done = 0
    for chosen, graph in _batches(model, frames, order, batch_size):
        for k, prediction in zip(chosen, predict_graph(model, graph, wanted), strict=True):
            found[k] = prediction
        n_done += len(chosen)
        if progress is not None:
            progress(n_done)
    return found


def _batches(
    model: Potential, frames: Sequence[ase.Atoms], order: Sequence[int], batch_size: int | None
) -> Iterator[tuple[list[int], AtomicGraph]]:
    """Frames that are evaluated together, in this order, with their graph."""
    chosen: list[int] = []
    graphs: list[AtomicGraph] = []
    for k in order:
        graph = graph_from_atoms(frames[k], model.cutoff)
        n_edges = graph.n_edges + sum(other.n_edges for other in graphs)
        if chosen and (n_edges > EVALUATION_EDGES if batch_size is None else len(chosen) == batch_size):
            yield chosen, collate(graphs)
            chosen, graphs = [], []
        chosen.append(k)
        graphs.append(graph)
    if chosen:
        yield chosen, collate(graphs)


def refuse_unfit(model: Potential, frames: Sequence[ase.Atoms]) -> None:
    """Name the frame that holds an unknown element or lacks a charge, before anything is computed."""
    table = ElementTable(model.elements)
    for atoms in frames:
        try:
            table.refuse(torch.from_numpy(atoms.numbers))
        except UnknownElementError as error:
            raise UnknownElementError(f"{frame_name(atoms)}: {error}") from None
    if model.takes_charge:
        refuse_without_charge(frames)


def predict_graph(model: Potential, graph: AtomicGraph, properties: Sequence[str]) -> list[Prediction]:
    """Predict properties of every structure of a batch."""
    on_device = to_device(cast(graph, model.dtype), model.device)
    nothing: AbstractContextManager[list[Tensor]] = nullcontext([])
    with model.counting_extrapolations() if EXTRAPOLATIONS in properties else nothing as counts:
        found = derive(model, on_device, [name for name in properties if name != EXTRAPOLATIONS])
    found |= {EXTRAPOLATIONS: counts[-1]} if counts else {}
    values = {name: v.detach().cpu() for name, v in found.items()}
    sizes = torch.bincount(graph.batch, minlength=graph.n_structures).tolist()
    parts = _split(values, sizes)
    return [{name: _as_plain(part[k]) for name, part in parts.items()} for k in range(len(sizes))]


def to_device(graph: AtomicGraph, device: torch.device) -> AtomicGraph:
    """The graph with all its tensors on a device."""
    return graph.replace(**{name: getattr(graph, name).to(device) for name in FIELDS if graph.has(name)})


def _split(values: dict[str, Tensor], sizes: list[int]) -> dict[str, list[Tensor]]:
    parts = {}
    for name, value in values.items():
        parts[name] = list(value) if name in STRUCTURE_LEVEL else list(value.split(sizes))
    return parts


def _as_plain(value: Tensor) -> Any:
    return float(value) if value.dim() == 0 else np.asarray(value)


def on_branch_of_labels(
    predictions: Sequence[Prediction], labels: Sequence[Mapping[str, Any]], cells: Tensor, pbc: Tensor
) -> list[Prediction]:
    """Predictions whose polarizations are moved by e times lattice vectors to the branch nearest to their labels."""
    found = [dict(prediction) for prediction in predictions]
    for k, (prediction, label) in enumerate(zip(found, labels, strict=True)):
        if prediction.get("polarization") is not None and label.get("polarization") is not None:
            both = torch.tensor(np.array([prediction["polarization"], label["polarization"]]), dtype=torch.float64)
            nearest = nearest_branch(both[:1], both[1:], cells[k : k + 1], pbc[k : k + 1])
            prediction["polarization"] = nearest[0].numpy()
    return found

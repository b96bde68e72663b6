"""A trained model made fit for more than it was trained on: further elements, the total charge of the cell."""

import inspect
from collections.abc import Iterable
from typing import Any

import torch
from ase.data import chemical_symbols
from torch import Tensor

from gnnpot.errors import ConfigError, UnknownElementError
from gnnpot.models.potential import Potential
from gnnpot.nn.elements import analogue
from gnnpot.nn.short_range import UNSEEN


def with_elements(potential: Potential, elements: Iterable[int]) -> Potential:
    """The same model with rows for further elements in its tables; itself where it knows them all.

    A new element starts as a copy of its nearest kin (`gnnpot.nn.elements.analogue`): its embedding, its reference
    energy. What the model gives for elements that it knew stays the same.

    Raises:
        UnknownElementError: a model whose inputs depend on its elements, as symmetry functions do.

    >>> from gnnpot.models.schnet import SchNet
    >>> [chemical_symbols[z] for z in with_elements(SchNet(["O", "Fe"]), [44]).elements]
    ['O', 'Fe', 'Ru']
    """
    known = potential.elements
    wanted = sorted({*known, *elements})
    new = [z for z in wanted if z not in known]
    if not new:
        return potential
    if not potential.takes_new_elements:
        names, own = (", ".join(chemical_symbols[z] for z in numbers) for numbers in (new, known))
        raise UnknownElementError(
            f"{names}: this {potential.title} knows {own}, and its inputs are made for these. Go on with a model that "
            "knows them all, or with a SchNet or GNNFF, which can learn further elements; or train from scratch with "
            "gnnpot fit"
        )
    grown: Potential = type(potential)(**{**potential.arguments(), "elements": wanted})
    grown.to(potential.dtype)
    rows = torch.tensor([known.index(analogue(z, known)) for z in wanted])
    state, old = grown.state_dict(), potential.state_dict()
    grown.load_state_dict({name: _by_element(old[name], value, rows) for name, value in state.items()})
    repulsion: Any = getattr(grown, "repulsion", None)
    if repulsion is not None:
        fresh = torch.tensor([z not in known for z in wanted])
        unseen = fresh[:, None] | fresh[None, :]
        repulsion.outer_radii.copy_(torch.where(unseen, UNSEEN * repulsion.bonds, repulsion.outer_radii))
    return _dressed(grown, potential)


def with_charge(potential: Potential) -> Potential:
    """The same model with the total charge of the cell as an input that changes nothing yet; itself where it has one.

    Raises:
        ConfigError: a model that cannot take it.

    >>> from gnnpot.models.schnet import SchNet
    >>> with_charge(SchNet(["Ga", "N"])).takes_charge
    True
    """
    if potential.takes_charge:
        return potential
    if "charge" not in inspect.signature(type(potential).__init__).parameters:
        raise ConfigError(
            f"model.charge=true: {potential.title} cannot take a charge in addition; give the potential without a head"
        )
    grown: Potential = type(potential)(**{**potential.arguments(), "charge": True})
    grown.to(potential.dtype)
    old = potential.state_dict()
    state = {}
    for name, value in grown.state_dict().items():
        if name in old:
            state[name] = _padded(old[name], value.shape)
        else:
            state[name] = torch.zeros_like(value) if name.startswith("charge_embedding.") else value
    grown.load_state_dict(state)
    return _dressed(grown, potential)


def _by_element(old: Tensor, new: Tensor, rows: Tensor) -> Tensor:
    """Values of a table whose axes over elements, those that have grown, take the old rows of these numbers."""
    for axis, (before, after) in enumerate(zip(old.shape, new.shape, strict=True)):
        if before != after:
            old = old.index_select(axis, rows)
    return old


def _padded(old: Tensor, shape: torch.Size) -> Tensor:
    """The tensor with zeros behind it on the axes that have grown: weights of inputs that are new."""
    padding = [n for before, after in zip(old.shape, shape, strict=True) for n in (after - before, 0)]
    return torch.nn.functional.pad(old, padding[::-1])


def _dressed(grown: Potential, potential: Potential) -> Potential:
    grown.card = potential.card
    return grown.to(potential.device).train(potential.training)


def untrained(potential: Potential, elements: Iterable[int]) -> dict[str, Any]:
    """Class (``_target_``) and constructor arguments of a model of the same make that knows these elements only.

    >>> from gnnpot.models.schnet import SchNet
    >>> untrained(SchNet(["O", "Fe"], cutoff=5.0), [8])["elements"]
    [8]
    """
    known = sorted(set(elements))
    arguments = {**potential.arguments(), "elements": known}
    if arguments.get("functions") is not None:
        strange = {chemical_symbols[z] for z in potential.elements if z not in known}
        arguments["functions"] = [line for line in arguments["functions"] if not strange & set(line.split())]
    return {"_target_": f"{type(potential).__module__}.{type(potential).__qualname__}", **arguments}

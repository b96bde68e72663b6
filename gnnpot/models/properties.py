"""Properties of a model: which there are, and the one door to them."""

from collections.abc import Iterable

from torch import Tensor

from gnnpot.data.graph import AtomicGraph
from gnnpot.errors import PropertyNotAvailableError, did_you_mean
from gnnpot.models.derivatives import Request, per_structure, respond
from gnnpot.models.potential import Potential

DERIVABLE = {
    "energies": ("energy", "energies", "forces", "stress"),
    "polarization": ("polarization", "born_effective_charges"),
}
"""What `derive` can give besides an output itself, for models that have it."""


def derive(
    potential: Potential,
    graph: AtomicGraph,
    properties: Iterable[str],
    *,
    field: Tensor | None = None,
    direction: Tensor | None = None,
    differentiable: bool = False,
) -> dict[str, Tensor]:
    """Return properties of a model: what it gives, and what follows from it by differentiation.

    With positions and cell under a symmetric strain ε, r → r(1 + ε), and the electric enthalpy H = U - E·P:

    F_i = -∂H/∂r_i,  σ = (1/|V|) ∂U/∂ε at ε = 0,  Z[i, a, b] = ∂P_a/∂r_ib.

    Forces in a field take one backward pass, F_ib = -∂U/∂r_ib + Σ_a E_a Z[i, a, b], and Z is never formed; the tensor
    itself takes three. A model that gives Z directly and no P adds the same sum to its forces; it has no enthalpy,
    and its energy stays U.

    Args:
        potential: any potential.
        graph: one structure or a batch; left as it is. Where a polarization is asked for, the positions are those of
            the caller, unwrapped.
        properties: among ``energy`` ``(n_structures,)`` eV, ``energies`` ``(n_atoms,)`` eV, ``forces``
            ``(n_atoms, 3)`` eV/Å and ``stress`` ``(n_structures, 3, 3)`` eV/Å³ (NaN where not fully periodic); with a
            response head ``polarization`` ``(n_structures, 3)`` e·Å and ``born_effective_charges``
            ``(n_atoms, 3, 3)`` e, and ``born_along_direction`` ``(n_atoms, 3)`` e, Σ_a e_a Z[i, a, b].
        field: E, ``(3,)`` or ``(n_structures, 3)``, V/Å: ``energy`` is then H, and ``forces`` are those in the field.
        direction: e of ``born_along_direction``, ``(3,)`` or ``(n_structures, 3)``.
        differentiable: keep the graph of the derivatives, for training on them.

    Raises:
        PropertyNotAvailableError: the model can neither give nor derive a property, also not in a field; the message
            says which can.

    >>> import torch
    >>> from ase.build import bulk
    >>> from gnnpot.data.graph import graph_from_atoms
    >>> from gnnpot.models.schnet import SchNet
    >>> graph = graph_from_atoms(bulk("Si"), cutoff=4.0, dtype=torch.float32)
    >>> sorted(derive(SchNet(["Si"], cutoff=4.0), graph, ["energy", "forces"]))
    ['energy', 'forces']
    """
    wanted = tuple(properties)
    _refuse_unavailable(potential, wanted, field)
    request = Request(frozenset(wanted), per_structure(field, graph), per_structure(direction, graph), differentiable)
    found = respond(potential, graph, request)
    return {name: found[name] for name in wanted}


def available_properties(outputs: Iterable[str]) -> tuple[str, ...]:
    """What `derive` gives for a model of these ``outputs``, in the order of reports.

    >>> available_properties({"forces", "polarization"})
    ('forces', 'polarization', 'born_effective_charges')
    """
    given: set[str] = set()
    for name in outputs:
        given.update(DERIVABLE.get(name, (name,)))
    order = (*DERIVABLE["energies"], *DERIVABLE["polarization"])
    return tuple(name for name in order if name in given)


def _refuse_unavailable(potential: Potential, wanted: tuple[str, ...], field: Tensor | None) -> None:
    available = available_properties(potential.outputs)
    has_response = "born_effective_charges" in available
    name_of_model = type(potential).__name__
    for name in wanted:
        if name in available or (name == "born_along_direction" and has_response):
            continue
        if name in (*DERIVABLE["polarization"], "born_along_direction"):
            why = (
                f"{name_of_model} gives {', '.join(available)}, not {name}. It comes from a response head: gnnpot fit "
                "head=polarization (Born charges too) or head=born_tensor, also on a trained model: checkpoint=PATH"
            )
        elif name in DERIVABLE["energies"]:
            why = (
                f"{name_of_model} gives {', '.join(available)}, not {name}. "
                "Energy and stress come from the energy models (hdnnp, schnet, gnnff_conservative)"
            )
        else:
            why = f"no model gives {name!r}; {did_you_mean(name, available)}"
        raise PropertyNotAvailableError(why)
    if field is None:
        return
    if not has_response:
        raise PropertyNotAvailableError(
            f"a field was given, and {name_of_model} has no response head; train one on Born charges: gnnpot fit "
            "head=polarization checkpoint=PATH"
        )
    for name in ("stress", "energies"):
        if name in wanted:
            raise PropertyNotAvailableError(
                f"{name} in an electric field is not defined here: the enthalpy U - E·P of a periodic crystal "
                + ("depends on how the field follows the strain" if name == "stress" else "belongs to no single atom")
            )

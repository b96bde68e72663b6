"""From the outputs of a model to properties: by automatic differentiation, or from ∂E/∂r_ij of every edge."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from gnnpot.data.graph import AtomicGraph, edge_vectors, gather, scatter_sum, sum_per_structure
from gnnpot.errors import ConfigError
from gnnpot.kernels import kernels_serve
from gnnpot.models.gradients import BornGradients, EnthalpyGradients
from gnnpot.models.potential import Potential
from gnnpot.nn.convolution import only_geometry
from gnnpot.nn.parts import in_parts

OF_ENERGY = frozenset({"energy", "energies", "forces", "stress"})
OF_BORN = frozenset({"born_effective_charges", "born_along_direction"})


@dataclass(frozen=True)
class Request:
    """What a caller of `gnnpot.models.properties.derive` wants; field and direction are ``(n_structures, 3)``."""

    wanted: frozenset[str]
    field: Tensor | None
    direction: Tensor | None
    differentiable: bool

    def __post_init__(self) -> None:
        """Refuse a contraction with nothing."""
        if "born_along_direction" in self.wanted and self.direction is None:
            raise ConfigError("born_along_direction needs a direction: derive(..., direction=...)")

    @property
    def by_position(self) -> bool:
        """Whether derivatives of an energy are wanted."""
        return bool(self.wanted & {"forces", "stress"})

    def outputs(self, potential: Potential) -> frozenset[str]:
        """The model's outputs from which the wanted properties follow."""
        needed = self.wanted & potential.outputs
        if self.wanted & OF_ENERGY:
            needed |= {"energies"}
        in_field = self.field is not None and self.wanted & {"energy", "forces"}
        if in_field or self.wanted & {"polarization", *OF_BORN}:
            needed |= {"polarization", "born_effective_charges"}
        return frozenset(needed & potential.outputs)


def per_structure(vector: Tensor | None, graph: AtomicGraph) -> Tensor | None:
    """A field or direction of every structure, ``(n_structures, 3)``, from these or from one ``(3,)`` for all."""
    if vector is None:
        return None
    if vector.shape not in ((3,), (graph.n_structures, 3)):
        raise ConfigError(
            f"a field or direction has three components, or three for each of the {graph.n_structures} structures; "
            f"this one has the shape {tuple(vector.shape)}"
        )
    return vector.to(graph.positions).expand(graph.n_structures, 3)


def respond(potential: Potential, graph: AtomicGraph, request: Request) -> dict[str, Tensor]:
    """At least the properties that are wanted."""
    found: dict[str, Tensor] = {}
    needed = request.outputs(potential)
    if request.field is not None:
        at_once = _in_one_pass(potential, graph, request, needed, request.field)
        if at_once is not None:
            return at_once
    if "energies" in needed and request.by_position and potential.can_use_edge_gradients(graph, request.differentiable):
        with torch.enable_grad():
            found = _from_edge_gradients(potential, graph, "stress" in request.wanted, request.differentiable)
        needed -= {"energies"}
    slopes = "energies" not in needed and _differentiates(needed & {"polarization"}, request)
    if slopes and potential.can_differentiate_dipole(graph, request.differentiable):
        with torch.enable_grad():
            _add_from_slopes(found, potential, graph, request)
        needed -= {"polarization"}
    if needed:
        with_gradients = request.differentiable or _differentiates(needed, request)
        with torch.set_grad_enabled(with_gradients), in_parts(not request.differentiable):
            _add_rest(found, potential, graph, request, needed)
    return found if request.differentiable else {name: value.detach() for name, value in found.items()}


def _in_one_pass(
    potential: Potential, graph: AtomicGraph, request: Request, needed: frozenset[str], field: Tensor
) -> dict[str, Tensor] | None:
    """Energy and forces in a field and what comes with them, where backbone and head share one pass and its reverse."""
    if request.differentiable or "forces" not in request.wanted or "energies" not in needed:
        return None
    if "stress" in request.wanted or ("polarization" in needed and request.wanted & OF_BORN):
        return None
    given = potential.in_field(graph, field)
    if given is None:
        return None
    if isinstance(given, EnthalpyGradients):
        return _from_enthalpy(given, graph, field)
    return _from_tensors(given, graph, request)


def _from_enthalpy(given: EnthalpyGradients, graph: AtomicGraph, field: Tensor) -> dict[str, Tensor]:
    """Forces of U - E·P, F_i = Σ_edges + q_i E, with what comes with them."""
    energies, dipole, gradients, charges = given
    forces = _sums_of_arrays(gradients, graph, with_stress=False)["forces"]
    forces.addcmul_(charges.to(forces.dtype)[:, None], field if graph.n_structures == 1 else gather(field, graph.batch))
    energy = sum_per_structure(energies, graph) - (field * dipole).sum(dim=1)
    return {"energy": energy, "polarization": dipole, "forces": forces}


def _from_tensors(given: BornGradients, graph: AtomicGraph, request: Request) -> dict[str, Tensor]:
    """Forces with the share of the field, with what comes with them."""
    energies, born, gradients = given
    found = _sums_of_arrays(gradients, graph, with_stress=False)
    found |= {"energy": sum_per_structure(energies, graph), "energies": energies, "born_effective_charges": born}
    _add_born(found, graph, graph.positions, request)
    return found


def _differentiates(needed: frozenset[str], request: Request) -> bool:
    """Whether derivatives of these outputs by position are wanted."""
    in_field = request.field is not None and "forces" in request.wanted
    of_dipole = "polarization" in needed and (in_field or bool(request.wanted & OF_BORN))
    return of_dipole or ("energies" in needed and request.by_position)


def _add_from_slopes(found: dict[str, Tensor], potential: Potential, graph: AtomicGraph, request: Request) -> None:
    """Add the polarization and its derivatives, and what a field makes of them, without a way through the backbone."""
    axes = torch.eye(3).to(graph.positions)
    directions = {} if request.field is None or "forces" not in request.wanted else {"field": request.field}
    if "born_along_direction" in request.wanted and request.direction is not None:
        directions["direction"] = request.direction
    if "born_effective_charges" in request.wanted:
        directions |= {name: axes[a].expand(graph.n_structures, 3) for a, name in enumerate("xyz")}
    dipole, slopes = potential.dipole_and_slopes(graph, list(directions.values()), request.differentiable)
    found["polarization"] = dipole
    along = dict(zip(directions, slopes, strict=True))
    if "field" in along and request.field is not None:
        found["forces"] = found["forces"] + along["field"]
        found["energy"] = found["energy"] - (request.field * dipole).sum(dim=1)
    if "direction" in along:
        found["born_along_direction"] = along["direction"]
    if "x" in along:
        found["born_effective_charges"] = torch.stack([along[name] for name in "xyz"], dim=1)


def _add_rest(
    found: dict[str, Tensor], potential: Potential, graph: AtomicGraph, request: Request, needed: frozenset[str]
) -> None:
    """Add what follows from some outputs of the model, from one evaluation."""
    positions = graph.positions.detach().requires_grad_(_differentiates(needed, request))
    variables = [positions]
    moved = graph.replace(positions=positions) if positions.requires_grad else graph
    if "stress" in request.wanted and "energies" in needed:
        strain = torch.zeros_like(graph.cell).requires_grad_(True)
        variables.append(strain)
        moved = _strained(moved, 0.5 * (strain + strain.transpose(1, 2)))
    outputs = potential.evaluate(moved, needed)
    found.update({name: outputs[name] for name in needed})
    enthalpy = graph.cell.new_zeros((), dtype=torch.float64)
    if "energies" in needed:
        found["energy"] = sum_per_structure(outputs["energies"], graph)
        enthalpy = enthalpy + outputs["energies"].sum()
    if request.field is not None and "polarization" in needed:
        work = (request.field * outputs["polarization"]).sum(dim=1)
        enthalpy = enthalpy - work.sum()
        if "energy" in found:
            found["energy"] = found["energy"] - work
    if request.by_position and _differentiates(needed - {"born_effective_charges"}, request):
        keep = "polarization" in needed and bool(request.wanted & OF_BORN)
        gradients = _gradients(enthalpy, variables, request.differentiable, keep)
        found["forces"] = found["forces"] - gradients[0] if "forces" in found else -gradients[0]
        if len(variables) > 1:
            found["stress"] = stress_from_virial(gradients[1], graph)
    _add_born(found, graph, positions, request)


def _add_born(found: dict[str, Tensor], graph: AtomicGraph, positions: Tensor, request: Request) -> None:
    """Born charges that are wanted: derivatives of the polarization, or a model's own and their share of the forces."""
    if "born_effective_charges" in found:
        born = found["born_effective_charges"]
        for name, vector in (("forces", request.field), ("born_along_direction", request.direction)):
            if vector is not None and name in request.wanted:
                along = torch.einsum("na,nab->nb", gather(vector, graph.batch).to(born), born).to(positions.dtype)
                found[name] = found["forces"] + along if name == "forces" else along
        return
    if "polarization" not in found:
        return
    dipoles = found["polarization"]
    if "born_along_direction" in request.wanted and request.direction is not None:
        along = (request.direction * dipoles).sum()
        keep = "born_effective_charges" in request.wanted
        found["born_along_direction"] = _gradients(along, [positions], request.differentiable, keep)[0]
    if "born_effective_charges" in request.wanted:
        rows = [_gradients(dipoles[:, a].sum(), [positions], request.differentiable, a < 2)[0] for a in range(3)]
        found["born_effective_charges"] = torch.stack(rows, dim=1)


def _gradients(total: Tensor, variables: Sequence[Tensor], differentiable: bool, keep: bool) -> Sequence[Tensor]:
    """Derivatives of a sum; ``keep`` what later ones of the same evaluation need."""
    if not total.requires_grad:
        return [torch.zeros_like(variable) for variable in variables]
    with only_geometry():
        return torch.autograd.grad(
            total,
            variables,
            create_graph=differentiable,
            retain_graph=differentiable or keep,
            materialize_grads=True,
        )


def _strained(graph: AtomicGraph, strain: Tensor) -> AtomicGraph:
    """The graph with r → r + r·ε for positions and cell, ε ``(n_structures, 3, 3)`` symmetric."""
    if graph.n_structures == 1:
        displacement = graph.positions @ strain[0]
    else:
        displacement = torch.einsum("na,nab->nb", graph.positions, gather(strain, graph.batch))
    return graph.replace(positions=graph.positions + displacement, cell=graph.cell + graph.cell @ strain)


def _from_edge_gradients(
    potential: Potential, graph: AtomicGraph, with_stress: bool, differentiable: bool
) -> dict[str, Tensor]:
    """F_i = Σ_{edges i→j} ∂E/∂r_ij - Σ_{edges j→i} ∂E/∂r_ji, and ∂E/∂ε = Σ_edges r ⊗ ∂E/∂r + |V| ∂E/∂V, symmetrized."""
    energies, gradients, by_volume = potential.energy_and_edge_gradients(graph, differentiable)
    found = {"energy": sum_per_structure(energies, graph), "energies": energies}
    if kernels_serve(gradients.device) and not differentiable:
        found.update(_sums_of_arrays(gradients.detach(), graph, with_stress))
    else:
        found.update(_sums_of_tensors(gradients, graph, with_stress))
    if with_stress and by_volume is not None:
        found["stress"] = found["stress"] + torch.diag_embed(by_volume.to(gradients.dtype)[:, None].expand(-1, 3))
    return found


def _sums_of_tensors(gradients: Tensor, graph: AtomicGraph, with_stress: bool) -> dict[str, Tensor]:
    """Forces and stress that can be differentiated further."""
    forces = scatter_sum(gradients, graph.centers, graph.n_atoms)
    found = {"forces": forces - scatter_sum(gradients, graph.neighbors, graph.n_atoms)}
    if with_stress:
        vectors = edge_vectors(graph)
        outer = torch.cat([vectors[:, a : a + 1] * gradients for a in range(3)], dim=1)
        per_atom = scatter_sum(outer, graph.centers, graph.n_atoms)
        virial = sum_per_structure(per_atom, graph).reshape(-1, 3, 3)
        found["stress"] = stress_from_virial(0.5 * (virial + virial.transpose(1, 2)), graph)
    return found


def _sums_of_arrays(gradients: Tensor, graph: AtomicGraph, with_stress: bool) -> dict[str, Tensor]:
    """Forces and stress by compiled loops, where nothing is differentiated further."""
    from gnnpot.nn.edge_sums import forces_and_virials, stress

    names = ("positions", "cell", "batch", "edge_index", "edge_shifts")
    positions, cell, *rest = (getattr(graph, name).detach().numpy() for name in names)
    forces, virials = forces_and_virials(gradients.numpy(), positions, cell, *rest)
    found = {"forces": torch.from_numpy(forces)}
    if with_stress:
        found["stress"] = torch.from_numpy(stress(virials, cell, graph.pbc.numpy()))
    return found


def stress_from_virial(virial: Tensor, graph: AtomicGraph) -> Tensor:
    """σ = (1/|V|) ∂E/∂ε, ``(n_structures, 3, 3)``, eV/Å³; NaN for structures that are not fully periodic.

    The volume of the latter is replaced before the division, so that no NaN reaches the gradient of another
    structure of the batch.
    """
    periodic = graph.pbc.all(dim=1)
    volume = torch.linalg.det(graph.cell).abs()
    safe = torch.where(periodic, volume, torch.ones_like(volume))
    stress = virial / safe[:, None, None]
    return torch.where(periodic[:, None, None], stress, torch.full_like(stress, float("nan")))

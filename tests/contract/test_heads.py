"""Every head on every backbone: the response to a field, in double precision on cells of every kind."""

import copy
import inspect
from itertools import pairwise

import numpy as np
import pytest
import torch
import yaml
from ase import Atoms
from scipy.spatial.transform import Rotation

from gnnpot.config import build, check_class, config_dir
from gnnpot.data.graph import FIELDS, cast, collate, graph_from_atoms
from gnnpot.data.labels import attach_labels
from gnnpot.errors import PropertyNotAvailableError
from gnnpot.models.prediction import predict
from gnnpot.models.properties import available_properties, derive
from gnnpot.models.response import ResponsePotential, joined
from gnnpot.models.store import load, save
from gnnpot.nn.convolution import only_parameters
from tests.contract.conftest import graph_of, labelled, rattled, structures, supercell, trained_like

HEAD_NAMES = sorted(path.stem for path in (config_dir() / "head").glob("*.yaml"))
RESPONSE = ("polarization", "born_effective_charges")
SMALL = {"n_channels": 6, "n_radial": 6, "hidden": 8}
STEP = 2e-5


def head_config(name):
    return yaml.safe_load((config_dir() / "head" / f"{name}.yaml").read_text(encoding="utf-8"))


def born_labelled(seed):
    """Li2O with random labels, Born charges among them."""
    atoms = labelled(rattled((1, 1, 2), seed=seed), seed)
    rng = np.random.default_rng(seed)
    mean = np.where(atoms.numbers == 3, 0.9, -1.8)[:, None, None] * np.eye(3)
    born = mean + 0.2 * rng.normal(size=(len(atoms), 3, 3))
    results = dict(atoms.calc.results)
    results.pop("free_energy")
    attach_labels(atoms, {**results, "born_effective_charges": born, "polarization": rng.normal(size=3)})
    return atoms


NEARER = 0.8
"""Cutoff of the heads here, as part of that of their backbone."""


def with_head(backbone_name, head_name):
    """A small model in double precision whose buffers are filled, with random weights; its head looks less far."""
    backbone = trained_like(backbone_name)
    graphs = [graph_from_atoms(born_labelled(seed), backbone.cutoff) for seed in range(3)]
    config = {**head_config(head_name), **{k: v for k, v in SMALL.items() if k in head_config(head_name)}}
    n_inputs = backbone.features(graphs[0]).shape[1]
    config |= {"elements": list(backbone.elements), "n_inputs": n_inputs, "cutoff": NEARER * backbone.cutoff}
    head_class = check_class(config["_target_"], ["gnnpot.models"])
    config = head_class.resolve(config, [{"Li": 4, "O": 2}])
    torch.manual_seed(1)
    head = build(config, ["gnnpot.models"]).double()
    with torch.no_grad():
        head.gates[-1].weight *= 5.0
    model = joined(backbone, head)
    model.learn_response_from(graphs)
    return model.eval()


@pytest.fixture(scope="module", params=HEAD_NAMES)
def head_name(request):
    return request.param


@pytest.fixture(scope="module")
def shared_response(model_name, head_name):
    return with_head(model_name, head_name)


@pytest.fixture
def response(shared_response):
    return shared_response


@pytest.fixture
def polarized(response):
    if "polarization" not in response.outputs:
        pytest.skip("gives Born charges without a polarization")
    return response


def properties(model):
    return tuple(name for name in ("energy", "forces", *RESPONSE) if name in model_properties(model))


def model_properties(model):
    return available_properties(model.outputs)


def values(model, atoms, names=None, **options):
    found = derive(model, graph_of(model, atoms), names or properties(model), **options)
    return {name: value.numpy() for name, value in found.items()}


def born(model, atoms):
    return values(model, atoms, ["born_effective_charges"])["born_effective_charges"]


def test_yaml_is_the_signature(head_name):
    config = head_config(head_name)
    parameters = inspect.signature(check_class(config.pop("_target_"), ["gnnpot.models"])).parameters
    assert config == {name: p.default for name, p in parameters.items()}


def test_outputs_shapes_and_the_graph_stays(response):
    batch = collate([graph_of(response, rattled(seed=1)), graph_of(response, rattled((2, 1, 1), seed=2))])
    before = {name: getattr(batch, name).clone() for name in FIELDS if batch.has(name)}
    outputs = response(batch)
    assert outputs.keys() == response.outputs
    found = derive(response, batch, properties(response))
    assert found["born_effective_charges"].shape == (batch.n_atoms, 3, 3)
    if "polarization" in found:
        assert found["polarization"].shape == (2, 3)
    for name, value in before.items():
        torch.testing.assert_close(getattr(batch, name), value, rtol=0, atol=0, equal_nan=True)


def test_features_are_computed_once(response, monkeypatch):
    calls = []
    backbone = response.backbone
    name = (
        "_propagate" if hasattr(backbone, "_propagate") else "_descriptors" if hasattr(backbone, "_descriptors") else ""
    )
    layers = getattr(backbone, "layers", None)
    if layers is not None:
        handle = layers.register_forward_hook(lambda *_: calls.append(1))
    else:
        inner = getattr(backbone, name)
        monkeypatch.setattr(backbone, name, lambda graph: (calls.append(1), inner(graph))[1], raising=False)
    response(graph_of(response, rattled()))
    if layers is not None:
        handle.remove()
    assert len(calls) == 1


def test_the_potential_is_that_of_the_backbone(response):
    graph = graph_of(response, rattled((2, 1, 1), seed=5))
    names = [name for name in ("energy", "energies", "forces", "stress") if name in model_properties(response)]
    alone = derive(response.backbone, graph, names)
    together = derive(response, graph, [*names, "born_effective_charges"])
    for name in names:
        torch.testing.assert_close(together[name], alone[name], rtol=1e-10, atol=1e-11)


@pytest.mark.parametrize(("kind", "sign"), [("left-handed", 1), ("skewed", -1), ("molecule", 1)])
def test_equivariance(response, kind, sign):
    """Z(Rr) = R Z Rᵀ for proper and improper rotations."""
    atoms = structures()[kind]
    rotation = sign * Rotation.random(random_state=7).as_matrix()
    turned = atoms.copy()
    turned.set_cell(atoms.cell.array @ rotation.T)
    turned.positions = atoms.positions @ rotation.T
    plain, moved = values(response, atoms), values(response, turned)
    expected = rotation @ plain["born_effective_charges"] @ rotation.T
    assert np.abs(expected - expected.transpose(0, 2, 1)).max() > 1e-5, "no antisymmetric part"
    np.testing.assert_allclose(moved["born_effective_charges"], expected, atol=1e-10)
    if "polarization" in plain:
        np.testing.assert_allclose(moved["polarization"], plain["polarization"] @ rotation.T, atol=1e-9)


@pytest.mark.parametrize("charge", [None, 0.0, 1.0, -1.0, 3.0])
def test_sum_rule(response, charge):
    frames = list(structures().values())
    for atoms in frames:
        atoms.info["charge"] = charge
    tensors = derive(response, collate([graph_of(response, atoms) for atoms in frames]), ["born_effective_charges"])
    for part in tensors["born_effective_charges"].split([len(atoms) for atoms in frames]):
        np.testing.assert_allclose(part.sum(dim=0), (charge or 0.0) * np.eye(3), atol=1e-10)


def test_sum_rule_in_single_precision(response):
    single = copy.deepcopy(response).float()
    graph = cast(graph_of(single, rattled((2, 2, 1), seed=3)), torch.float32)
    total = derive(single, graph, ["born_effective_charges"])["born_effective_charges"].sum(dim=0)
    assert total.abs().max() < 2e-5


def test_permutation(response):
    atoms = rattled((2, 1, 1), seed=11)
    order = np.random.default_rng(0).permutation(len(atoms))
    plain, mixed = values(response, atoms), values(response, atoms[order])
    np.testing.assert_allclose(mixed["born_effective_charges"], plain["born_effective_charges"][order], atol=1e-11)
    if "polarization" in plain:
        np.testing.assert_allclose(mixed["polarization"], plain["polarization"], atol=1e-10)


def test_translation(response):
    """Z stays, and P of a cell with charge Q changes by Q times the shift."""
    atoms, shift = rattled((2, 1, 1), seed=26), np.array([0.7, -1.3, 2.9])
    atoms.info["charge"] = 3.0
    moved = atoms.copy()
    moved.positions += shift
    before, after = values(response, atoms), values(response, moved)
    np.testing.assert_allclose(after["born_effective_charges"], before["born_effective_charges"], atol=1e-10)
    if "polarization" in before:
        np.testing.assert_allclose(after["polarization"] - before["polarization"], [3.0 * shift], atol=1e-9)


def test_supercell(response):
    atoms = rattled(seed=12)
    matrix = np.array([[1, 1, 0], [-1, 1, 0], [0, 0, 2]])
    large = supercell(atoms, matrix)
    n_copies = len(large) // len(atoms)
    expected = np.tile(born(response, atoms), (n_copies, 1, 1))
    order = np.argsort(np.tile(np.arange(len(atoms)), n_copies), kind="stable")
    found = born(response, large)
    candidates = [expected, expected[order]]
    assert min(np.abs(found - candidate).max() for candidate in candidates) < 1e-10


def test_batch_equals_singles(response):
    graphs = [graph_of(response, atoms) for atoms in structures().values()]
    together = derive(response, collate(graphs), properties(response))
    alone = [derive(response, graph, properties(response)) for graph in graphs]
    for name, value in together.items():
        expected = torch.cat([single[name] for single in alone])
        torch.testing.assert_close(value, expected, rtol=1e-9, atol=1e-10, equal_nan=True)


@pytest.mark.parametrize("kind", ["skewed", "slab", "molecule"])
def test_born_charges_are_slopes_of_the_polarization(polarized, kind):
    atoms = structures()[kind]
    tensors = born(polarized, atoms)
    for atom in range(min(len(atoms), 2)):
        for axis in range(3):
            ends = []
            for sign in (1, -1):
                moved = atoms.copy()
                moved.positions[atom, axis] += sign * STEP
                ends.append(values(polarized, moved, ["polarization"])["polarization"][0])
            np.testing.assert_allclose((ends[0] - ends[1]) / (2 * STEP), tensors[atom, :, axis], atol=2e-7)


def test_mixed_derivatives_are_symmetric(polarized):
    """∂Z[i, a, b]/∂r_jc = ∂Z[j, a, c]/∂r_ib: Z has no curl, so that a field does no work around a loop."""
    atoms = rattled(seed=13)

    def slope(i, a, b, j, c):
        ends = []
        for sign in (1, -1):
            moved = atoms.copy()
            moved.positions[j, c] += sign * STEP
            ends.append(born(polarized, moved)[i, a, b])
        return (ends[0] - ends[1]) / (2 * STEP)

    for i, a, b, j, c in [(0, 0, 1, 1, 2), (1, 2, 0, 2, 1), (0, 1, 0, 0, 2)]:
        assert slope(i, a, b, j, c) == pytest.approx(slope(j, a, c, i, b), abs=1e-7)


def test_forces_in_a_field(response):
    atoms = rattled((2, 1, 1), seed=14)
    field = torch.tensor([0.11, -0.05, 0.2], dtype=torch.float64)
    tensors = born(response, atoms)
    bare = values(response, atoms, ["forces"])["forces"]
    in_field = values(response, atoms, ["forces"], field=field)["forces"]
    np.testing.assert_allclose(in_field - bare, np.einsum("a,nab->nb", field.numpy(), tensors), atol=1e-11)
    along = values(response, atoms, ["born_along_direction"], direction=field)["born_along_direction"]
    np.testing.assert_allclose(along, in_field - bare, atol=1e-11)
    everything = values(response, atoms, properties(response), field=field)
    np.testing.assert_allclose(everything["forces"], in_field, atol=1e-11)
    np.testing.assert_allclose(everything["born_effective_charges"], tensors, atol=1e-11)


def test_each_structure_has_its_own_field(response):
    frames = [rattled(seed=15), rattled((1, 1, 2), seed=16)]
    fields = torch.tensor([[0.1, 0.0, 0.0], [0.0, -0.2, 0.1]], dtype=torch.float64)
    together = derive(response, collate([graph_of(response, atoms) for atoms in frames]), ["forces"], field=fields)
    alone = [values(response, atoms, ["forces"], field=e)["forces"] for atoms, e in zip(frames, fields, strict=True)]
    np.testing.assert_allclose(together["forces"].numpy(), np.concatenate(alone), atol=1e-10)


def test_no_field_is_the_bare_potential_to_the_bit(response):
    atoms = rattled((2, 1, 1), seed=17)
    names = [name for name in ("energy", "forces") if name in model_properties(response)]
    zero = values(response, atoms, names, field=torch.zeros(3, dtype=torch.float64))
    for bare in (response, response.backbone):
        for name, value in values(bare, atoms, names).items():
            np.testing.assert_array_equal(zero[name], value)


def test_enthalpy_and_its_slope(polarized):
    if "energies" not in polarized.outputs:
        pytest.skip("no energy")
    atoms = rattled(seed=18)
    field = torch.tensor([0.1, 0.2, -0.3], dtype=torch.float64)
    found = values(polarized, atoms, ["energy", "forces", "polarization"], field=field)
    bare = values(polarized, atoms, ["energy"])["energy"]
    assert found["energy"][0] == pytest.approx(bare[0] - found["polarization"][0] @ field.numpy(), abs=1e-10)
    ends = []
    for sign in (1, -1):
        moved = atoms.copy()
        moved.positions[1, 2] += sign * STEP
        ends.append(values(polarized, moved, ["energy"], field=field)["energy"][0])
    assert found["forces"][1, 2] == pytest.approx(-(ends[0] - ends[1]) / (2 * STEP), rel=1e-5, abs=1e-6)


def test_what_a_field_does_not_define_is_refused(response):
    graph, field = graph_of(response, rattled()), torch.tensor([0.0, 0.0, 0.1], dtype=torch.float64)
    for name in ("stress", "energies"):
        with pytest.raises(PropertyNotAvailableError, match=name):
            derive(response, graph, [name], field=field)
    with pytest.raises(PropertyNotAvailableError, match="response head"):
        derive(response.backbone, graph, ["forces"], field=field)
    with pytest.raises(PropertyNotAvailableError, match="head=polarization"):
        derive(response.backbone, graph, ["born_effective_charges"])


def test_an_ion_that_crosses_the_boundary(response):
    """Born charges do not jump, P by q0 times a lattice vector, and back again where the position is unwrapped."""
    atoms = rattled((2, 1, 1), seed=19)
    wrapped = atoms.copy()
    wrapped.positions[1] += atoms.cell.array[2]
    before, after = values(response, atoms), values(response, wrapped)
    np.testing.assert_allclose(after["born_effective_charges"], before["born_effective_charges"], atol=1e-10)
    if "polarization" in before:
        q0 = response.head.ionic_charges(graph_of(response, atoms))[1].item()
        assert q0 == pytest.approx(round(q0))
        jump = after["polarization"][0] - before["polarization"][0]
        np.testing.assert_allclose(jump, q0 * atoms.cell.array[2], atol=1e-9)


def test_a_path_across_the_boundary_is_continuous(response):
    atoms = rattled(seed=20)
    step = atoms.cell.array[0] / 4000
    found = []
    for k in range(8):
        moved = atoms.copy()
        moved.positions[0] += (k - 4) * step - atoms.positions[0]
        found.append(values(response, moved))
    for name in ("born_effective_charges", "polarization"):
        if name in found[0]:
            jumps = [np.abs(b[name] - a[name]).max() for a, b in pairwise(found)]
            assert max(jumps) < 2.0 * np.median(jumps) + 1e-9


def test_work_around_a_loop(polarized):
    """∮ Σ_i Z_i·dr_i = 0 around a circle in the space of all positions (the trapezoidal rule converges like eⁿ)."""
    atoms = rattled(seed=21)
    n, radius = 24, 0.01
    a, b = np.random.default_rng(0).normal(size=(2, *atoms.positions.shape))
    total, size = np.zeros(3), 0.0
    for angle in 2 * np.pi * np.arange(n) / n:
        moved = atoms.copy()
        moved.positions += radius * (np.cos(angle) * a + np.sin(angle) * b)
        work = np.einsum("nab,nb->a", born(polarized, moved), radius * (-np.sin(angle) * a + np.cos(angle) * b))
        total, size = total + work * 2 * np.pi / n, size + np.abs(work).max() * 2 * np.pi / n
    assert np.abs(total).max() < 1e-10 < 0.1 < size


def test_isolated_atoms_and_tiny_cells(response):
    atom = Atoms("Li", positions=[[1.0, 2.0, 3.0]])
    tensors = born(response, atom)
    np.testing.assert_allclose(tensors, np.zeros((1, 3, 3)), atol=1e-12)
    assert np.isfinite(born(response, rattled(seed=22)[:1])).all()


@pytest.mark.parametrize("part", [1.0, NEARER], ids=["backbone", "head"])
def test_smooth_at_the_cutoff(response, part):
    crossing = part * response.cutoff
    inside, beyond, further = (
        values(response, Atoms("LiOO", [[0, 0, 0], [crossing + step * 1e-6, 0, 0], [0.5, 1.7, 0.2]]))
        for step in (-1, 1, 3)
    )
    name = "born_effective_charges"
    np.testing.assert_allclose(beyond[name] - inside[name], further[name] - beyond[name], atol=1e-9)


def test_gradients_of_the_weights(response):
    """Training on Born charges: the slope of a loss in every parameter against finite differences."""
    model = copy.deepcopy(response).requires_grad_(True)
    graph = collate([graph_of(model, born_labelled(seed)) for seed in (0, 1)])
    direction = torch.nn.functional.normalize(torch.randn(2, 3, generator=torch.Generator().manual_seed(0)).double())

    def loss(differentiable):
        found = derive(
            model, graph, ["born_effective_charges", "born_along_direction"],
            direction=direction, differentiable=differentiable,
        )  # fmt: skip
        rest = found["born_effective_charges"] - graph.born_effective_charges
        return (rest**2).mean() + (found["born_along_direction"] ** 3).mean()

    value = loss(differentiable=True)
    with only_parameters():
        value.backward()
    n_checked = 0
    for name, parameter in model.named_parameters():
        if parameter.grad is None:
            assert "readout" in name or "networks" in name or "edge_updates" in name or name.endswith("bias"), name
            continue
        direction_of_weights = parameter.grad + 0.1 * torch.ones_like(parameter)
        slope = (parameter.grad * direction_of_weights).sum().item()
        scale = 1e-5 / max(direction_of_weights.abs().max().item(), 1e-12)
        ends = []
        for sign in (1, -1):
            with torch.no_grad():
                parameter += sign * scale * direction_of_weights
            ends.append(loss(differentiable=False).item())
            with torch.no_grad():
                parameter -= sign * scale * direction_of_weights
        assert slope == pytest.approx((ends[0] - ends[1]) / (2 * scale), rel=2e-4, abs=1e-8), name
        n_checked += 1
    assert n_checked > 6


def test_save_and_load_bitwise(response, tmp_path):
    save(response, tmp_path / "model")
    loaded = load(tmp_path / "model")
    assert isinstance(loaded, ResponsePotential)
    assert loaded.arguments() == response.arguments()
    graph = graph_of(response, rattled())
    expected = derive(response, graph, properties(response))
    for name, value in derive(loaded, graph, properties(response)).items():
        assert torch.equal(value, expected[name]), name


def test_predict_gives_the_response(response):
    frames = [rattled((2, 1, 1), seed=23), rattled(seed=24)]
    for atoms, prediction in zip(frames, predict(response, frames), strict=True):
        assert prediction["born_effective_charges"].shape == (len(atoms), 3, 3)
        np.testing.assert_allclose(prediction["born_effective_charges"], born(response, atoms), atol=1e-9)
        if "polarization" in response.outputs:
            assert prediction["polarization"].shape == (3,)


def test_the_way_through_the_backbone_and_its_pullback_agree(response, monkeypatch):
    graph = collate([graph_of(response, rattled(seed=25)), graph_of(response, structures()["slab"])])
    if not response.can_differentiate_dipole(graph, differentiable=False):
        pytest.skip("no pullback")
    field = torch.tensor([0.1, -0.2, 0.05], dtype=torch.float64)
    names = [*properties(response), "born_along_direction"]
    fast = derive(response, graph, names, field=field, direction=2 * field)
    monkeypatch.setattr(type(response.backbone), "can_pull_back", lambda *_: False)
    plain = derive(response, graph, names, field=field, direction=2 * field)
    for name in names:
        torch.testing.assert_close(fast[name], plain[name], rtol=1e-9, atol=1e-10)

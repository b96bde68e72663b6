"""Response heads in a training: with some, all or no Born charges, and on a model that was trained before."""

import copy
import re
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import ase
import numpy as np
import pytest
import torch
from ase.build import bulk
from ase.calculators.morse import MorsePotential
from ase.calculators.singlepoint import SinglePointCalculator

from gnnpot.data.bundled import bundled_path
from gnnpot.data.graph import graph_from_atoms
from gnnpot.data.labels import labels_of
from gnnpot.data.readers import read
from gnnpot.data.writers import write_extxyz
from gnnpot.errors import ConfigError, DataError, DataWarning, PropertyNotAvailableError
from gnnpot.models.heads import with_sum_rule
from gnnpot.models.prediction import predict
from gnnpot.models.properties import derive
from gnnpot.models.response import ResponsePotential, build_head, joined
from gnnpot.models.schnet import SchNet
from gnnpot.models.store import load
from gnnpot.nn.convolution import only_parameters
from gnnpot.report.html import write_report
from gnnpot.training.fit import fit
from gnnpot.training.module import TrainingModule
from tests.training.test_resume import assert_same_run

Settings = Callable[..., dict[str, Any]]
pytestmark = [
    pytest.mark.usefixtures("no_report"),
    pytest.mark.filterwarnings("ignore:The compositions of the training set"),
]
SMALL_HEADS = {
    "polarization": {"n_channels": 4, "n_radial": 6, "hidden": 8},
    "born_tensor": {"n_channels": 4, "n_radial": 6, "hidden": 8},
}
BORN = "born_effective_charges"
ALL = ("energy", "forces", "stress", "born_effective_charges", "polarization")


def dipole(atoms: ase.Atoms) -> np.ndarray:
    """P of a toy salt: charges, and a flow of charge between neighbors that depends on their distance."""
    charges = np.where(atoms.numbers == 11, 1.0, -1.0)
    total = charges @ atoms.positions
    shifts = np.stack(np.meshgrid(*[[-1, 0, 1]] * 3), axis=-1).reshape(-1, 3) @ atoms.cell.array
    vectors = atoms.positions[None, :, None] - atoms.positions[:, None, None] + shifts
    lengths = np.linalg.norm(vectors, axis=-1)
    flow = 0.1 * (charges[:, None] - charges[None, :])[:, :, None] * np.exp(-((lengths / 2.2) ** 2))
    return total + np.einsum("ijs,ijsa->a", flow, vectors)


def salt(n: int, seed: int = 0) -> list[ase.Atoms]:
    """Rattled NaCl with Morse energies and the response of the toy."""
    rng = np.random.default_rng(seed)
    frames = []
    for _ in range(n):
        atoms = bulk("NaCl", "rocksalt", a=4.6)
        atoms.set_cell(atoms.cell.array @ (np.eye(3) + rng.normal(0, 0.03, (3, 3))), scale_atoms=True)
        atoms.positions += rng.normal(0, 0.12, atoms.positions.shape)
        atoms.calc = MorsePotential(epsilon=0.3, r0=2.3, rho0=3.0, rcut1=3.0, rcut2=4.0)
        results = {name: atoms.calc.get_property(name, atoms) for name in ("energy", "forces", "stress")}
        born = np.zeros((len(atoms), 3, 3))
        for i in range(len(atoms)):
            for b in range(3):
                ends = []
                for sign in (1, -1):
                    moved = atoms.copy()
                    moved.positions[i, b] += sign * 1e-5
                    ends.append(dipole(moved))
                born[i, :, b] = (ends[0] - ends[1]) / 2e-5
        results |= {"born_effective_charges": born, "polarization": dipole(atoms)}
        atoms.calc = SinglePointCalculator(atoms, **results)
        frames.append(atoms)
    return frames


@pytest.fixture(scope="module")
def frames() -> list[ase.Atoms]:
    return salt(30)


def written(path: Path, frames: list[ase.Atoms], keep: Callable[[int], tuple[str, ...]]) -> str:
    """File of frames of which the k-th has the labels ``keep(k)``."""
    chosen = []
    for k, atoms in enumerate(frames):
        atoms = atoms.copy() if atoms.calc is None else copy.deepcopy(atoms)
        results = {name: value for name, value in atoms.calc.results.items() if name in keep(k)}
        atoms.calc = SinglePointCalculator(atoms, **results)
        chosen.append(atoms)
    return str(write_extxyz(path, chosen))


@pytest.fixture
def salt_file(frames: list[ase.Atoms], tmp_path: Path) -> str:
    return written(tmp_path / "salt.xyz", frames, lambda k: ALL)


def with_head(name: str) -> dict[str, Any]:
    from gnnpot.config import compose

    return {**compose("fit", [f"head={name}"])["head"], **SMALL_HEADS[name]}


@pytest.fixture(params=sorted(SMALL_HEADS))
def head(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def test_oxidation_numbers_that_do_not_add_up_to_the_charge_are_told(
    settings: Settings, frames: list[ase.Atoms], tmp_path: Path, head: str
) -> None:
    """Every ion of a cell of two atoms and +1 e gets half of it; a head without such charges has nothing to say."""
    charged = [copy.deepcopy(atoms) for atoms in frames]
    for atoms in charged[::2]:
        atoms.info["charge"] = 1.0
    path = written(tmp_path / "charged.xyz", charged, lambda k: ALL)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        fit(settings(head=with_head(head), data={"path": path, "split": {"kind": "random"}}, trainer={"max_epochs": 1}))
    said = [str(w.message) for w in caught if w.category is DataWarning and "head.charges" in str(w.message)]
    if head == "born_tensor":
        assert said == []
        return
    assert len(said) == 1
    found = re.search(r"in (\d+) of (\d+) training frames .* \+0\.5 e in .*charged\.xyz, frame \d*[02468]: ", said[0])
    assert found is not None
    assert 0 < int(found[1]) <= 15 < int(found[2]) <= 28


def test_a_joint_training(settings: Settings, salt_file: str, head: str) -> None:
    trainer = {"max_epochs": 30, "validate_every": 5}
    result = fit(settings(head=with_head(head), data={"path": salt_file}, trainer=trainer))
    errors = result.metrics["test"]
    assert errors["born_row_rmse_e"] == pytest.approx(3**0.5 * errors["born_rmse_e"])
    assert errors["born_tensor_rmse_e"] == pytest.approx(3 * errors["born_rmse_e"])
    assert errors["counts"]["n_born"] == 2 * errors["counts"]["n_structures"]
    assert ("polarization_rmse_e_ang" in errors) == (head == "polarization")
    spread = np.std([a.calc.results["born_effective_charges"][0] - np.eye(3) for a in read(salt_file)])
    assert errors["born_rmse_e"] < 0.8 * spread
    assert result.metrics["provenance"]["model"].startswith("SchNet with ")
    model = load(result.run_dir)
    assert isinstance(model, ResponsePotential)
    prediction = predict(model, read(salt_file)[:1])[0]
    np.testing.assert_allclose(prediction["born_effective_charges"].sum(axis=0), 0.0, atol=1e-5)
    write_report(result.run_dir)
    page = (result.run_dir / "report.html").read_text()
    assert "per tensor" in page
    assert "Born charge error by element" in page
    log = (result.run_dir / "log.csv").read_text().splitlines()[0]
    assert "val_born_mae_e" in log


def test_some_frames_with_born_charges(settings: Settings, frames: list[ase.Atoms], head: str, tmp_path: Path) -> None:
    path = written(tmp_path / "some.xyz", frames, lambda k: ALL if k % 3 == 0 else ALL[:3])
    result = fit(settings(head=with_head(head), data={"path": path}))
    counts = result.metrics["train"]["counts"]
    assert 0 < counts["n_born"] < counts["n_atoms"]


def test_no_frame_with_born_charges(settings: Settings, frames: list[ase.Atoms], head: str, tmp_path: Path) -> None:
    path = written(tmp_path / "none.xyz", frames, lambda k: ALL[:3])
    with pytest.raises(DataError, match=r"Born charges or a polarization.*data\.keys=\{born_effective_charges: NAME\}"):
        fit(settings(head=with_head(head), data={"path": path}))


def test_born_charges_alone(settings: Settings, frames: list[ase.Atoms], head: str, tmp_path: Path) -> None:
    path = written(tmp_path / "born.xyz", frames, lambda k: ("born_effective_charges",))
    with pytest.warns(DataWarning, match="electric response alone"):
        result = fit(settings(head=with_head(head), data={"path": path}))
    model = load(result.run_dir)
    assert set(predict(model, frames[:1])[0]) <= {"born_effective_charges", "polarization"}
    with pytest.raises(PropertyNotAvailableError, match="not energy"):
        predict(model, frames[:1], ["energy"])


def test_a_head_on_a_trained_model(settings: Settings, frames: list[ase.Atoms], head: str, tmp_path: Path) -> None:
    """The potential stays as it is to the bit; its head learns from frames that have Born charges alone."""
    full = written(tmp_path / "full.xyz", frames, lambda k: ALL[:3])
    potential = fit(settings("potential", data={"path": full}))
    path = written(tmp_path / "born.xyz", frames, lambda k: ("born_effective_charges",))
    config = settings("response", head=with_head(head), data={"path": path}, checkpoint=str(potential.run_dir))
    del config["model"]
    result = fit(config)
    before, after = load(potential.run_dir), load(result.run_dir)
    assert isinstance(after, ResponsePotential)
    for name, value in before.state_dict().items():
        assert torch.equal(after.backbone.state_dict()[name], value), name
    expected, found = (predict(model, frames[:2], ["energy", "forces"]) for model in (before, after))
    for one, other in zip(expected, found, strict=True):
        assert one["energy"] == other["energy"]
        np.testing.assert_array_equal(one["forces"], other["forces"])
    assert "born_rmse_e" in result.metrics["test"]
    assert float(after.head.born_scale.scale) < 1.0


def test_a_trained_model_may_learn_along(settings: Settings, salt_file: str, tmp_path: Path) -> None:
    potential = fit(settings("potential", data={"path": salt_file}))
    config = settings("along", head=with_head("polarization"), data={"path": salt_file}, freeze=["backbone.embedding"])
    del config["model"]
    result = fit({**config, "checkpoint": str(potential.run_dir)})
    before, after = load(potential.run_dir), load(result.run_dir)
    assert isinstance(after, ResponsePotential)
    same = {name: torch.equal(after.backbone.state_dict()[name], x) for name, x in before.state_dict().items()}
    assert same["embedding.weight"]
    assert same["energy_scale.reference_energies"]
    assert not all(same.values())
    assert "forces_mae_mev_per_ang" in result.metrics["test"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"model": {"cutoff": 3.0}}, "brings its own model"),
        ({"freeze": ["backbon"]}, "no weight of that name.*backbone.embedding"),
        ({"freeze": ["backbone", "head"]}, "leaves no weight to train"),
        ({"head": with_head("polarization") | {"cutoff": 9.0}}, r"head.cutoff=9: .* up to \S+ Å"),
        ({"head": with_head("polarization") | {"cutoff": 0.0}}, "head.cutoff=0"),
        ({"head": with_head("polarization") | {"n_inputs": 3}}, "head.n_inputs=3 is that of the model"),
        ({"head": {**SMALL_HEADS["polarization"], "_target_": "gnnpot.models.schnet.SchNet"}}, "not a response head"),
    ],
)
def test_what_does_not_fit_is_named(
    settings: Settings, salt_file: str, tmp_path: Path, change: dict[str, Any], message: str
) -> None:
    potential = fit(settings("potential", data={"path": salt_file}))
    config = settings("response", head=with_head("born_tensor"), data={"path": salt_file})
    del config["model"]
    with pytest.raises(ConfigError, match=message):
        fit({**config, "checkpoint": str(potential.run_dir), **change})


def test_a_model_has_one_head(settings: Settings, salt_file: str) -> None:
    first = fit(settings("first", head=with_head("born_tensor"), data={"path": salt_file}))
    config = settings("second", head=with_head("polarization"), data={"path": salt_file}, checkpoint=str(first.run_dir))
    del config["model"]
    with pytest.raises(ConfigError, match="has a response head already"):
        fit(config)


def test_a_broken_training_goes_on_bitwise(
    settings: Settings, salt_file: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The random directions of the field are those of the steps, whenever these are taken."""
    changes = {"head": with_head("polarization"), "data": {"path": salt_file}, "trainer": {"max_epochs": 4}}
    step = TrainingModule.training_step
    steps = []

    def breaking(module: TrainingModule, batch: Any, batch_idx: int) -> None:
        steps.append(batch_idx)
        if len(steps) == 9:
            raise OSError("the power is gone")
        step(module, batch, batch_idx)

    with monkeypatch.context() as patch:
        patch.setattr(TrainingModule, "training_step", breaking)
        with pytest.raises(OSError, match="the power is gone"):
            fit(settings("broken", **changes))
    fit({"resume": str(tmp_path / "broken")})
    fit(settings("straight", **changes))
    assert_same_run(tmp_path / "broken", tmp_path / "straight")


def error_after_learning(
    head: dict[str, Any], charges: dict[str, float], atoms: ase.Atoms, label: torch.Tensor, steps: int
) -> float:
    """RMSE in e of SchNet with this head, trained on the Born charges of one frame in double precision."""
    torch.manual_seed(0)
    backbone = SchNet(list(charges), 4.0, n_features=16, n_interactions=1, n_radial=8)
    made = {**head, "elements": list(backbone.elements), "n_inputs": 16, "cutoff": 4.0}
    model = joined(backbone, build_head(made)).double()
    graph = graph_from_atoms(atoms, 4.0).replace(born_effective_charges=label)
    model.learn_response_from([graph])
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    annealed = torch.optim.lr_scheduler.LinearLR(optimizer, 1.0, 0.02, steps)
    for _ in range(steps):
        optimizer.zero_grad()
        born = derive(model, graph, ["born_effective_charges"], differentiable=True)["born_effective_charges"]
        loss = ((born - label) ** 2).mean()
        with only_parameters():
            loss.backward()
        optimizer.step()
        annealed.step()
    return float(loss.detach()) ** 0.5


def test_any_tensors_are_learned() -> None:
    """Random ones, without symmetry: what a symmetric head could never fit."""
    atoms = salt(1, seed=5)[0] * (2, 1, 1)
    rng = np.random.default_rng(0)
    atoms.positions += rng.normal(0, 0.2, atoms.positions.shape)
    target = rng.normal(0, 0.3, (4, 3, 3))
    label = torch.from_numpy(target - target.mean(axis=0))
    sizes = {"n_channels": 16, "n_radial": 8, "hidden": 32}
    error = error_after_learning({**with_head("born_tensor"), **sizes}, {"Na": 1, "Cl": -1}, atoms, label, 150)
    assert error < 1e-3 * float(label.std())


def test_the_antisymmetric_part_of_a_frame_is_learned(head: str) -> None:
    """Of lithium oxide from first principles, its tensors projected on their sum rule, below 1e-3 e by either head."""
    labelled = [a for a in read(bundled_path("Li2O")) if len(a) == 12 and BORN in labels_of(a)]
    antisymmetric = [np.square(z - z.transpose(0, 2, 1)).mean() for z in (labels_of(a)[BORN] for a in labelled)]
    atoms = labelled[int(np.argmax(antisymmetric))]
    graph = graph_from_atoms(atoms, 4.0)
    label = with_sum_rule(graph.born_effective_charges, graph)
    sizes = {"n_channels": 32, "n_radial": 16, "hidden": 32}
    if head == "polarization":
        sizes["charges"] = {"Li": 1, "O": -2}
    error = error_after_learning({**with_head(head), **sizes}, {"Li": 1, "O": -2}, atoms, label, 150)
    assert error < 1e-3 < 1e-2 < float((label - label.transpose(1, 2)).std()) / 2

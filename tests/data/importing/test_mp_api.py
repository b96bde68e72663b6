"""The Materials Project's client, by its two documented calls; trajectories as emmet-core's `RelaxTrajectory`."""

import sys
from enum import Enum
from types import SimpleNamespace

import numpy as np
import pytest

from gnnpot.data import frame_writer
from gnnpot.data.frames import entries_of
from gnnpot.data.importing import import_frames
from gnnpot.data.labels import labels_of
from gnnpot.data.mp_api import MaterialsProject, connect
from gnnpot.errors import ConfigError, DataError

from .records import FORCES, KBAR


class RunType(Enum):
    """As emmet names the run types."""

    GGA = "GGA"
    GGA_U = "GGA+U"


def trajectory(n_steps: int, run_type: RunType | None, **changes) -> dict:
    steps = range(n_steps)
    found = {
        "elements": [3, 9],
        "cart_coords": [[[0, 0, 0], [2 + 0.01 * k] * 3] for k in steps],
        "num_ionic_steps": n_steps,
        "lattice": [[[4, 0, 0], [0, 4, 0], [0, 0, 4]]],
        "energy": [-11.25 - k for k in steps],
        "e_fr_energy": [-11.5 - k for k in steps],
        "e_wo_entrp": None,
        "forces": [FORCES] * n_steps,
        "stress": [KBAR] * n_steps,
        "run_type": run_type,
        "task_type": "Structure Optimization",
    }
    return found | changes


class Client:
    """The two calls of ``mp_api.client.MPRester`` that are used, with what they were asked for."""

    def __init__(self, run_types: dict, trajectories: dict) -> None:
        self.asked: list[str] = []
        self._run_types, self._trajectories = run_types, trajectories
        self.materials = SimpleNamespace(search=self._search, tasks=SimpleNamespace(get_trajectory=self._get))

    def _search(self, material_ids: list[str], fields: list[str]) -> list[dict]:
        assert fields == ["material_id", "run_types"]
        known = [name for name in material_ids if name in self._run_types]
        return [{"material_id": name, "run_types": self._run_types[name]} for name in known]

    def _get(self, task_id: str) -> dict:
        self.asked.append(task_id)
        return self._trajectories[task_id]


@pytest.fixture
def client() -> Client:
    runs = {"mp-1138": {"mp-2": RunType.GGA_U, "mp-1": RunType.GGA}, "mp-5": {"mp-6": RunType.GGA}}
    return Client(
        runs,
        {
            "mp-1": trajectory(2, RunType.GGA),
            "mp-2": trajectory(1, None, e_fr_energy=None, lattice=[np.eye(3).tolist()]),
            "mp-6": trajectory(1, RunType.GGA),
        },
    )


def test_steps_of_all_tasks_by_hand(tmp_path, client):
    store = import_frames(MaterialsProject(["mp-1138", "mp-5"], client), tmp_path / "store")
    assert client.asked == ["mp-1", "mp-2", "mp-6"]
    assert entries_of(store, "frame_id") == ["mp-1-0", "mp-1-1", "mp-2-0", "mp-6-0"]
    assert entries_of(store, "material_id") == ["mp-1138", "mp-1138", "mp-1138", "mp-5"]
    assert entries_of(store, "functional") == ["GGA", "GGA", "GGA+U", "GGA"]
    assert [labels_of(atoms)["energy"] for atoms in store] == [-11.5, -12.5, -11.25, -11.5]
    frame = store[1]
    np.testing.assert_allclose(frame.positions[1], [2.01, 2.01, 2.01])
    np.testing.assert_allclose(np.diag(labels_of(frame)["stress"]), [-0.01, 0.02, -0.005], rtol=1e-12)
    assert labels_of(frame)["forces"].tolist() == FORCES


def test_an_unknown_material_is_named(tmp_path, client):
    with pytest.raises(DataError, match="the Materials Project knows no mp-0"):
        import_frames(MaterialsProject(["mp-0"], client), tmp_path / "store")


def test_an_older_client_is_named(tmp_path, client):
    client._trajectories["mp-6"] = [object()]
    with pytest.raises(DataError, match=r'returned a list in the place of a trajectory.*pip install "mp-api'):
        import_frames(MaterialsProject(["mp-5"], client), tmp_path / "store")


def test_an_interrupted_connection_is_gone_on_with(tmp_path, client, monkeypatch):
    monkeypatch.setattr(frame_writer, "FRAMES_PER_SHARD", 1)
    project = MaterialsProject(["mp-1138", "mp-5"], client)
    whole = import_frames(project, tmp_path / "whole")
    last = client._trajectories.pop("mp-6")
    with pytest.raises(DataError, match=r"did not answer for mp-5 \(KeyError: 'mp-6'\).*the same command goes on"):
        import_frames(project, tmp_path / "resumed")
    client._trajectories["mp-6"] = last
    client.asked.clear()
    resumed = import_frames(project, tmp_path / "resumed")
    assert client.asked == ["mp-6"]
    assert resumed.sha256 == whole.sha256


def test_the_client_is_asked_for_by_name(monkeypatch):
    monkeypatch.setitem(sys.modules, "mp_api.client", None)
    with pytest.raises(ConfigError, match=r'pip install "gnnpot\[mp\]"'):
        connect()

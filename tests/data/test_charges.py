"""Total charges of frames."""

import pytest
from ase import Atoms
from ase.build import bulk
from ase.io import write

from gnnpot.apps.datasets import frames_from
from gnnpot.data.charges import fill_charges, refuse_without_charge, unseen_charges
from gnnpot.errors import ConfigError, DataError


def test_only_missing_charges_are_filled_in():
    frames = [bulk("Si"), bulk("Si")]
    frames[1].info["charge"] = 2.0
    fill_charges(frames, None)
    assert "charge" not in frames[0].info
    fill_charges(frames, 1)
    assert [atoms.info["charge"] for atoms in frames] == [1.0, 2.0]


def test_what_lacks_a_charge_per_volume_is_named():
    crystal = bulk("Si")
    crystal.info.update(charge=0.0, source="a.xyz", frame=0)
    refuse_without_charge([crystal])
    with pytest.raises(DataError, match=r"b\.xyz, frame 2: no total charge.*data\.charge=0"):
        refuse_without_charge([crystal, Atoms("H", cell=[5] * 3, pbc=True, info={"source": "b.xyz", "frame": 2})])
    with pytest.raises(DataError, match=r"b\.xyz, frame 2: pbc is \[False, False, False\]"):
        refuse_without_charge([Atoms("H", info={"charge": 0.0, "source": "b.xyz", "frame": 2})])


def test_differing_charges_are_counted():
    frames = [Atoms("H", info={"charge": charge}) for charge in (0, 1, 1, -2)]
    assert unseen_charges(frames[1:3]) is None
    text = unseen_charges(frames)
    assert "-2 e (1 frames), 0 e (1 frames), 1 e (2 frames)" in text
    assert "model.charge=true" in text


def test_files_of_evaluate_and_predict(tmp_path):
    path = tmp_path / "a.xyz"
    frames = [bulk("Si"), bulk("Si")]
    frames[0].info["charge"] = 2
    write(path, frames)
    assert [atoms.info.get("charge") for atoms in frames_from({"path": path})] == [2.0, None]
    assert [atoms.info["charge"] for atoms in frames_from({"path": path, "charge": 0})] == [2.0, 0.0]
    with pytest.raises(ConfigError, match=r"data\.charge=none: give the total charge"):
        frames_from({"path": path, "charge": "none"})

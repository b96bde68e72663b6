"""Graphs on disk: what is read equals what was written, whole or not at all, without filling the memory."""

import errno
import json
import os
import pickle
import shutil
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier

import ase
import numpy as np
import pytest
import torch
from ase.build import bulk, molecule

from gnnpot.data.folder_cache import DAY, default_cache_dir
from gnnpot.data.graph import AtomicGraph, cast, collate, graph_from_atoms
from gnnpot.data.labels import attach_labels
from gnnpot.data.store import GraphStore, cached_store
from gnnpot.data.store_format import MANIFEST, array_path, offsets_path
from gnnpot.data.store_writer import StoreWriter
from gnnpot.errors import DataError, GnnpotWarning

CUTOFF = 3.2


@pytest.fixture
def frames() -> list[ase.Atoms]:
    """Crystals, a molecule, a lone atom without edges and a large cell; labels on some."""
    structures = [
        bulk("Si"),
        molecule("H2O"),
        ase.Atoms("Ar"),
        bulk("Cu", cubic=True).repeat(2),
        bulk("NaCl", "rocksalt", 5.6),
    ]
    rng = np.random.default_rng(7)
    for k, atoms in enumerate(structures):
        atoms.rattle(0.05, seed=k)
        if k != 1:
            attach_labels(atoms, {"energy": float(rng.normal()), "forces": rng.normal(size=(len(atoms), 3))})
    structures[0].info["charge"] = 1
    return structures


def with_extras(graph: AtomicGraph) -> dict[str, torch.Tensor]:
    """Precomputed arrays in every ragged dimension."""
    every_second = torch.arange(0, graph.n_edges, 2)
    return {
        "edge_of_pair": every_second,
        "pair_of_edge": torch.arange(graph.n_edges) // 2,
        "descriptors": torch.sin(graph.positions @ torch.ones(3, 5, dtype=torch.float64)).to(torch.float32),
        "descriptor_gradients": torch.ones(graph.n_edges, 4, 3, dtype=torch.float32),
    }


def graphs_of(frames: list[ase.Atoms]) -> list[AtomicGraph]:
    graphs = [graph_from_atoms(atoms, CUTOFF) for atoms in frames]
    return [graph.replace(**with_extras(graph)) for graph in graphs]


def assert_same(found: AtomicGraph, expected: AtomicGraph) -> None:
    assert found.fields().keys() == expected.fields().keys()
    for name, value in expected.fields().items():
        tensor = getattr(found, name)
        assert tensor.dtype == value.dtype, name
        torch.testing.assert_close(tensor, value, rtol=0, atol=0, equal_nan=True)


@pytest.mark.parametrize("indices", [[0], [2], [1, 2, 3], [4, 0, 4, 3, 2], [0, 2, 3], [3, 3, 3]])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_batch_equals_collated_graphs(
    tmp_path: Path, frames: list[ase.Atoms], indices: list[int], dtype: torch.dtype
) -> None:
    graphs = graphs_of(frames)
    with StoreWriter(tmp_path / "store") as writer:
        for graph in graphs:
            writer.append(graph)
    store = GraphStore.open(tmp_path / "store")
    assert_same(store.batch(indices, dtype), cast(collate([graphs[k] for k in indices]), dtype))


def test_rows_read_from_disk_equal_mapped_ones(
    tmp_path: Path, frames: list[ase.Atoms], monkeypatch: pytest.MonkeyPatch
) -> None:
    store = cached_store(frames, CUTOFF, with_extras, cache_dir=tmp_path)
    monkeypatch.setattr("gnnpot.data.store.SMALLEST", 1)
    read = GraphStore.open(store.folder)
    for indices in ([3, 0, 2], [0, 1, 2, 3], [4, 4]):
        read.announce(np.array(indices))
        assert_same(read.batch(indices), store.batch(indices))


def test_a_batch_appended_equals_its_graphs_appended(tmp_path: Path, frames: list[ase.Atoms]) -> None:
    graphs = graphs_of(frames)
    for name, pieces in {"one": graphs, "two": [collate(graphs[:4]), graphs[4]]}.items():
        with StoreWriter(tmp_path / name) as writer:
            for piece in pieces:
                writer.append(piece)
    for path in (tmp_path / "one").iterdir():
        assert path.read_bytes() == (tmp_path / "two" / path.name).read_bytes(), path.name


def test_gathered_rows_equal_copied_slices(tmp_path: Path) -> None:
    """Many small structures are gathered by row, few large ones copied by slice."""
    frames = [bulk("Si").repeat((1, 1, 1 + k % 2)) for k in range(40)]
    store = cached_store(frames, 2.5, cache_dir=tmp_path)
    indices = np.random.default_rng(0).permutation(40)
    assert store.n_atoms[indices].sum() < 16 * 40
    expected = collate([graph_from_atoms(frames[k], 2.5) for k in indices])
    assert_same(store.batch(indices, torch.float64), expected)


def test_sizes_fields_and_arrays(tmp_path: Path, frames: list[ase.Atoms]) -> None:
    store = cached_store(frames, CUTOFF, cache_dir=tmp_path)
    assert len(store) == 5
    assert store.n_atoms.tolist() == [len(atoms) for atoms in frames]
    assert store.n_edges.tolist() == [graph_from_atoms(atoms, CUTOFF).n_edges for atoms in frames]
    assert np.isnan(store.array("energy")).tolist() == [False, True, False, False, False]
    assert not store.array("energy").flags.writeable
    few = store.batch([0, 1], fields=["forces"])
    assert set(few.fields()) == {"positions", "atomic_numbers", "cell", "pbc", "batch", "forces"}
    assert store.n_bytes == sum(path.stat().st_size for path in store.folder.glob("*.array"))


def test_survives_pickling_to_a_worker(tmp_path: Path, frames: list[ase.Atoms]) -> None:
    store = cached_store(frames, CUTOFF, cache_dir=tmp_path)
    copy = pickle.loads(pickle.dumps(store))
    assert_same(copy.batch([1, 0]), store.batch([1, 0]))


@pytest.mark.parametrize("indices", [[], [5], [-1], [[0, 1]]])
def test_bad_indices(tmp_path: Path, frames: list[ase.Atoms], indices: list[int]) -> None:
    store = cached_store(frames, CUTOFF, cache_dir=tmp_path)
    with pytest.raises(DataError, match="structure"):
        store.batch(indices)


def test_unknown_field_names_the_nearest(tmp_path: Path, frames: list[ase.Atoms]) -> None:
    store = cached_store(frames, CUTOFF, cache_dir=tmp_path)
    with pytest.raises(DataError, match="did you mean 'forces'"):
        store.batch([0], fields=["force"])


def test_cell_shift_beyond_16_bits_is_refused(tmp_path: Path) -> None:
    atoms = bulk("Si")
    atoms.positions[1] += 40000 * atoms.cell[0]
    with pytest.raises(DataError, match=r"edge_shifts.*wrap"), StoreWriter(tmp_path / "store") as writer:
        writer.append(graph_from_atoms(atoms, CUTOFF))
    assert list(tmp_path.iterdir()) == []


def test_graphs_of_different_fields_are_refused(tmp_path: Path, frames: list[ase.Atoms]) -> None:
    graph = graph_from_atoms(frames[0], CUTOFF)
    with pytest.raises(DataError, match="descriptors"), StoreWriter(tmp_path / "store") as writer:
        writer.append(graph)
        writer.append(graph.replace(descriptors=torch.zeros(2, 3)))


def test_an_interrupted_writer_leaves_nothing(tmp_path: Path, frames: list[ase.Atoms]) -> None:
    with pytest.raises(KeyboardInterrupt), StoreWriter(tmp_path / "store") as writer:
        writer.append(graph_from_atoms(frames[0], CUTOFF))
        raise KeyboardInterrupt
    assert list(tmp_path.iterdir()) == []


def test_an_existing_folder_is_not_overwritten(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="exists already"):
        StoreWriter(tmp_path)


def test_an_empty_store_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no graph"):
        StoreWriter(tmp_path / "store").close()
    with pytest.raises(DataError, match="no frames"):
        cached_store([], CUTOFF, cache_dir=tmp_path)


# ---------------------------------------------------------------- cache


class Counting:
    """A precompute that counts how often it runs."""

    def __init__(self) -> None:
        self.n_calls = 0

    def __call__(self, graph: AtomicGraph) -> dict[str, torch.Tensor]:
        self.n_calls += 1
        return {"descriptors": graph.positions[:, :1]}


def test_the_second_call_reads_the_cache(tmp_path: Path, frames: list[ase.Atoms]) -> None:
    precompute = Counting()
    seen: list[tuple[int, int]] = []
    first = cached_store(
        frames, CUTOFF, precompute, cache_dir=tmp_path, progress=lambda done, n: seen.append((done, n))
    )
    for atoms in frames:
        atoms.info["source"] = "renamed.xyz"
    second = cached_store(frames, CUTOFF, precompute, cache_dir=tmp_path)
    assert precompute.n_calls == 5
    assert seen == [(k, 5) for k in range(1, 6)]
    assert first.folder == second.folder
    assert first.batch([0, 3]).descriptors.shape == (34, 1)


def test_every_change_that_matters_makes_another_entry(tmp_path: Path, frames: list[ase.Atoms]) -> None:
    def folder(cutoff: float = CUTOFF, signature: str = "") -> Path:
        return cached_store(frames, cutoff, signature=signature, cache_dir=tmp_path).folder

    folders = [folder(), folder(cutoff=3.3), folder(signature="g2")]
    forces = frames[0].get_forces()
    forces[0, 0] += 1e-9
    attach_labels(frames[0], {"energy": frames[0].get_potential_energy(), "forces": forces})
    folders.append(folder())
    frames[0].info["charge"] = 2
    folders.append(folder())
    assert len(set(folders)) == 5


@pytest.mark.parametrize("damage", ["cut", "missing", "not json", "offsets", "newer"])
def test_a_damaged_entry_is_rebuilt(tmp_path: Path, frames: list[ase.Atoms], damage: str) -> None:
    store = cached_store(frames, CUTOFF, cache_dir=tmp_path)
    expected, folder = store.batch([0, 1, 2, 3, 4]), store.folder
    positions, manifest = array_path(folder, "positions"), folder / MANIFEST
    if damage == "cut":
        positions.write_bytes(positions.read_bytes()[:-1])
    elif damage == "missing":
        positions.unlink()
    elif damage == "not json":
        manifest.write_text("{")
    elif damage == "offsets":
        path = offsets_path(folder, "edge")
        path.write_bytes(path.read_bytes()[:-8] + bytes(8))
    else:
        manifest.write_text(json.dumps({**json.loads(manifest.read_text()), "format_version": 99}))
    with pytest.raises(DataError, match="rebuilt" if damage != "not json" else "not a graph store"):
        GraphStore.open(folder)
    assert_same(cached_store(frames, CUTOFF, cache_dir=tmp_path).batch([0, 1, 2, 3, 4]), expected)
    assert [path.name for path in tmp_path.iterdir()] == [folder.name]


@pytest.mark.parametrize(
    "change", [{"dtype": "object"}, {"dtype": "V8"}, {"row_shape": [-1]}, {"rows": "file"}, {"shift": 3}]
)
def test_a_description_that_names_no_numbers_is_refused(
    tmp_path: Path, frames: list[ase.Atoms], change: dict[str, object]
) -> None:
    manifest = cached_store(frames, CUTOFF, cache_dir=tmp_path).folder / MANIFEST
    content = json.loads(manifest.read_text())
    content["fields"]["energy"].update(change)
    manifest.write_text(json.dumps(content))
    with pytest.raises(DataError, match="not the description of a graph store"):
        GraphStore.open(manifest.parent)


def test_the_slower_of_two_runs_takes_the_store_of_the_faster(tmp_path: Path, frames: list[ase.Atoms]) -> None:
    faster: list[GraphStore] = []

    def overtaken(graph: AtomicGraph) -> dict[str, torch.Tensor]:
        if not faster:
            faster.append(cached_store(frames, CUTOFF, cache_dir=tmp_path))
            (faster[0].folder / "winner").touch()
        return {}

    slower = cached_store(frames, CUTOFF, overtaken, cache_dir=tmp_path)
    assert (slower.folder / "winner").exists()
    assert [path.name for path in tmp_path.iterdir()] == [slower.folder.name]


def test_four_builders_at_once(tmp_path: Path, frames: list[ase.Atoms]) -> None:
    together = Barrier(4)

    def meet(graph: AtomicGraph) -> dict[str, torch.Tensor]:
        together.wait(timeout=60)
        return {}

    with ThreadPoolExecutor(4) as pool:
        runs = [pool.submit(cached_store, frames, CUTOFF, meet, cache_dir=tmp_path) for _ in range(4)]
    stores = [run.result() for run in runs]
    assert len({store.folder for store in stores}) == 1
    for store in stores:
        assert_same(store.batch([3, 0]), stores[0].batch([3, 0]))
    assert [path.name for path in tmp_path.iterdir()] == [stores[0].folder.name]


def test_an_unwritable_cache_falls_back_with_a_warning(tmp_path: Path, frames: list[ase.Atoms]) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("a file where the cache folder should be")
    with pytest.warns(GnnpotWarning, match="nothing can be cached in"):
        store = cached_store(frames, CUTOFF, cache_dir=blocked / "cache")
    folder = store.folder
    assert store.batch([0]).n_atoms == 2
    del store
    assert not folder.exists()


def test_leftovers_of_killed_runs_are_removed_after_a_day(tmp_path: Path, frames: list[ase.Atoms]) -> None:
    old, young = tmp_path / ".building-old", tmp_path / ".building-young"
    old.mkdir()
    young.mkdir()
    long_ago = old.stat().st_mtime - 1.1 * DAY
    os.utime(old, (long_ago, long_ago))
    cached_store(frames, CUTOFF, cache_dir=tmp_path)
    assert not old.exists()
    assert young.exists()


def test_a_full_disk_drops_what_was_not_used_for_longest(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, frames: list[ase.Atoms]
) -> None:
    old, older = (cached_store(frames, cutoff, cache_dir=tmp_path).folder for cutoff in (2.0, 2.2))
    foreign = tmp_path / "mine"
    foreign.mkdir()
    for days, folder in ((1, old), (2, older), (9, foreign)):
        os.utime(folder, times=(time.time() - days * DAY,) * 2)
    usage = type(shutil.disk_usage(tmp_path))
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage(100, 95, 5 if older.exists() else 20))
    cached_store(frames, 2.4, cache_dir=tmp_path)
    assert not older.exists()
    assert old.exists()
    assert foreign.exists()
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage(100, 95, 5))
    cached_store(frames, 2.0, cache_dir=tmp_path)  # used just now
    cached_store(frames, 2.6, cache_dir=tmp_path)
    assert old.exists()


def test_no_room_anywhere_is_said(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, frames: list[ase.Atoms]) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(StoreWriter, "append", full)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    with (
        pytest.warns(GnnpotWarning, match="nothing can be cached"),
        pytest.raises(DataError, match=r"data\.cache=FOLDER"),
    ):
        cached_store(frames, CUTOFF, cache_dir=tmp_path / "cache")
    assert [path.name for path in tmp_path.iterdir()] == ["cache"]
    assert not any((tmp_path / "cache").iterdir())


def test_default_cache_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, frames: list[ase.Atoms]) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cached_store(frames, CUTOFF).folder.parent == tmp_path / "gnnpot"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    assert default_cache_dir() == tmp_path / "home" / ".cache" / "gnnpot"


# ---------------------------------------------------------------- size


def two_atom_batch(n: int) -> AtomicGraph:
    """``n`` two-atom structures with one edge each way, as one graph."""
    atoms = torch.arange(2 * n).reshape(n, 2)
    positions = torch.zeros(n, 2, 3, dtype=torch.float64)
    positions[:, 1, 0] = 1.0 + torch.linspace(0, 1, n, dtype=torch.float64)
    return AtomicGraph(
        positions=positions.reshape(-1, 3),
        atomic_numbers=torch.ones(2 * n, dtype=torch.int64),
        batch=torch.arange(n).repeat_interleave(2),
        cell=torch.eye(3, dtype=torch.float64).expand(n, 3, 3) * 9.0,
        pbc=torch.ones(n, 3, dtype=torch.bool),
        charge=torch.zeros(n, dtype=torch.float64),
        edge_index=torch.stack([atoms.reshape(-1), atoms.flip(1).reshape(-1)]),
        edge_shifts=torch.zeros(2 * n, 3, dtype=torch.float64),
        energy=torch.arange(n, dtype=torch.float64),
        forces=torch.zeros(2 * n, 3, dtype=torch.float64),
        stress=torch.full((n, 3, 3), torch.nan, dtype=torch.float64),
    )


OPEN_A_MILLION = """
import sys, time
import numpy as np

def megabytes(kind):
    return next(int(line.split()[1]) for line in open("/proc/self/status") if line.startswith(kind)) / 1024

from gnnpot.data.store import GraphStore
start = time.perf_counter()
store = GraphStore.open(sys.argv[1])
print(len(store), time.perf_counter() - start, megabytes("VmRSS"))
before = megabytes("RssAnon")
batches = np.random.default_rng(0).integers(len(store), size=(200, 32))
start = time.perf_counter()
for indices in batches:
    graph = store.batch(indices)
    assert graph.n_edges == 64
    assert (graph.energy.numpy() == indices % 50_000).all()
print((time.perf_counter() - start) / len(batches), megabytes("RssAnon") - before)
"""


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="resident memory is read from /proc")
def test_a_million_graphs_open_in_little_memory(tmp_path: Path) -> None:
    folder = tmp_path / "million"
    piece = two_atom_batch(50_000)
    with StoreWriter(folder) as writer:
        for _ in range(20):
            writer.append(piece)
    command = [sys.executable, "-c", OPEN_A_MILLION, str(folder)]
    run = subprocess.run(command, capture_output=True, text=True, check=True, timeout=120)
    opened, batched = (line.split() for line in run.stdout.splitlines())
    assert opened[0] == "1000000"
    assert float(opened[1]) < 1.0
    assert float(opened[2]) < 300.0, "MB resident after opening"
    assert float(batched[0]) < 0.02, "s per batch of 32"
    assert float(batched[1]) < 30.0, "MB of its own after 200 random batches (mapped pages belong to the system)"

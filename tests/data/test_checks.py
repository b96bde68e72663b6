"""What looks wrong in a dataset is named, and what is right raises no alarm."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import ase
import ase.io
import numpy as np
import pytest
from ase.build import bulk, molecule
from ase.calculators.lj import LennardJones

from gnnpot.data.checks import (
    consistency_warnings,
    label_coverage,
    near_duplicate_warning,
    near_duplicates,
    require_labels,
    suspicious_frames,
)
from gnnpot.data.labels import attach_labels, labels_of
from gnnpot.data.near_duplicates import duplicate_groups
from gnnpot.errors import DataError
from gnnpot.keys import ANGSTROM_PER_BOHR, EV_PER_HARTREE

Labels = dict[str, Any]


def labeled(atoms: ase.Atoms) -> ase.Atoms:
    """The frame with the labels of a Lennard-Jones argon."""
    atoms.calc = LennardJones(sigma=3.4, epsilon=0.01, rc=8.0, smooth=True)
    labels = {"energy": atoms.get_potential_energy(), "forces": atoms.get_forces()}
    if atoms.pbc.all():
        labels["stress"] = atoms.get_stress(voigt=False)
    attach_labels(atoms, labels)
    return atoms


@pytest.fixture(scope="module")
def rattled() -> list[ase.Atoms]:
    """Argon crystals with displaced atoms, then strained ones."""
    frames = []
    for k in range(16):
        atoms = bulk("Ar", a=5.3, cubic=True)
        if k < 8:
            atoms.rattle(0.05, seed=k)
        else:
            atoms.set_cell(atoms.cell.array @ (np.eye(3) * (0.95 + 0.01 * (k - 8))), scale_atoms=True)
        atoms.info.update(source="argon.xyz", frame=k)
        frames.append(labeled(atoms))
    return frames


def changed(frames: list[ase.Atoms], change: Callable[[Labels, ase.Atoms], Labels]) -> list[ase.Atoms]:
    """Copies of the frames with other labels."""
    copies = []
    for atoms in frames:
        copy = atoms.copy()
        attach_labels(copy, {**labels_of(atoms), **change(labels_of(atoms), atoms)})
        copies.append(copy)
    return copies


# ---------------------------------------------------------------- labels


def test_coverage_counts_labels_per_config_type(rattled: list[ase.Atoms]) -> None:
    frames = [*rattled[:3], ase.Atoms("Ar", info={"config_type": "atom"})]
    attach_labels(frames[3], {"energy": 0.0})
    coverage = label_coverage(frames)
    assert coverage.counts == {"energy": 4, "forces": 3, "stress": 3}
    assert coverage.counts_by_type["atom"] == {"energy": 1}
    assert coverage.table().splitlines() == [
        "frames             energy  forces  stress",
        "all             4       4       3       3",
        "atom            1       1       0       0",
        "no config_type  3       3       3       3",
    ]


def test_a_label_of_no_frame_is_refused_with_the_table() -> None:
    frames = [ase.Atoms("Ar", info={"my_energy": 1.0}), ase.Atoms("Ar")]
    attach_labels(frames[1], {"forces": np.zeros((1, 3))})
    with pytest.raises(DataError) as caught:
        require_labels(frames, ["energy", "forces"])
    message = str(caught.value)
    assert "none of the 2 training frames has energy" in message
    assert "all     2       1" in message
    assert "my_energy" in message
    assert "data.keys={energy: NAME}" in message
    assert require_labels(frames, ["forces"]).counts == {"forces": 1}


# ---------------------------------------------------------------- suspicious frames


def test_strong_forces_and_short_bonds_are_reported(rattled: list[ase.Atoms]) -> None:
    assert suspicious_frames([*rattled, molecule("H2"), molecule("C2H4"), ase.Atoms("H"), ase.Atoms()]) == []
    strong = changed(rattled[:1], lambda labels, atoms: {"forces": np.full((4, 3), 60.0)})
    (text,) = suspicious_frames(strong)
    assert "argon.xyz, frame 0" in text
    assert "103.9 eV/Å" in text
    near = ase.Atoms("SiO", positions=[[0, 0, 0], [0, 0, 0.8]], info={"source": "s.xyz", "frame": 2})
    (text,) = suspicious_frames([near])
    assert "s.xyz, frame 2: Si-O at 0.80 Å" in text or "s.xyz, frame 2: O-Si at 0.80 Å" in text


# ---------------------------------------------------------------- twins


def moved(atoms: ase.Atoms) -> ase.Atoms:
    """The same crystal, translated, rotated, renumbered and with atoms in other cells."""
    copy = atoms[[2, 0, 3, 1]]
    copy.positions += [0.3, -0.2, 0.7]
    copy.positions[1] += copy.cell[0] - 2 * copy.cell[2]
    copy.rotate(37.0, (1.0, 2.0, 0.5), rotate_cell=True)
    copy.calc = None
    return copy


def test_moved_copies_are_twins(rattled: list[ase.Atoms]) -> None:
    copies = [moved(rattled[5]), moved(rattled[12])]
    twins = near_duplicates(copies, rattled)
    assert [(twin.index, twin.reference) for twin in twins] == [(0, 5), (1, 12)]
    assert all(twin.distance < 1e-8 and np.isnan(twin.energy_difference) for twin in twins)
    assert near_duplicates(rattled[:3], rattled[3:]) == []


def test_how_near_is_near(rattled: list[ase.Atoms]) -> None:
    for step, n_twins in ((5e-4, 1), (1e-2, 0)):
        near = rattled[2].copy()
        near.positions[1, 0] += step
        assert len(near_duplicates([near], rattled)) == n_twins


def test_of_several_twins_the_nearest_in_energy_is_named(rattled: list[ase.Atoms]) -> None:
    copies = [rattled[0].copy() for _ in range(3)]
    for energy, atoms in zip((1.0, 2.0, 3.0), copies, strict=True):
        attach_labels(atoms, {"energy": energy})
    frame = rattled[0].copy()
    attach_labels(frame, {"energy": 2.0 + 2e-6})
    (twin,) = near_duplicates([frame], copies)
    assert twin.reference == 1
    assert twin.energy_difference == pytest.approx(5e-7)
    assert twin.same_energy


def test_molecules_and_single_atoms_have_twins() -> None:
    frames = [molecule("H2O"), ase.Atoms("Ar"), molecule("CH4")]
    others = [ase.Atoms("Ar", positions=[[1, 2, 3]]), molecule("CH4"), molecule("C2H6")]
    twins = near_duplicates(frames, others)
    assert [(twin.index, twin.reference) for twin in twins] == [(1, 0), (2, 1)]


def test_groups_of_duplicates(rattled: list[ase.Atoms]) -> None:
    frames = [rattled[0], rattled[1], moved(rattled[0]), moved(rattled[1]), rattled[2]]
    assert duplicate_groups(frames) == [0, 1, 0, 1, 4]


def test_the_warning_counts_and_names(rattled: list[ase.Atoms]) -> None:
    frames = [rattled[4], rattled[5]]
    text = near_duplicate_warning(near_duplicates(frames[:1], rattled), frames, rattled)
    assert text is not None
    assert text.startswith("1 of 2 test frames have the geometry of a training frame (1 its energy too), first: argon")
    assert "data.split.group_by=geometry" in text
    assert near_duplicate_warning([], frames, rattled) is None


@pytest.mark.parametrize(
    ("element", "training_file", "n_geometry", "n_energy", "n_energies"),
    [("Cu", "Cu_train.xyz.gz", 13, 11, 11), ("Li", "Li_train.xyz", 3, 3, 3), ("Si", "Si_train.xyz", 3, 3, 1)],
)
def test_twins_between_the_official_files(
    gnnpot_data: Path, element: str, training_file: str, n_geometry: int, n_energy: int, n_energies: int
) -> None:
    """Elastic test frames whose strain is a symmetric copy of one in the training file."""
    train = ase.io.read(gnnpot_data / "mlearn" / training_file, ":")
    test = ase.io.read(gnnpot_data / "mlearn" / f"{element}_test.xyz", ":")
    twins = near_duplicates(test, train)
    assert len(twins) == n_geometry
    same = [test[twin.index] for twin in twins if twin.same_energy]
    assert len(same) == n_energy
    assert len({round(atoms.get_potential_energy(), 5) for atoms in same}) == n_energies
    assert {atoms.info["config_type"] for atoms in same} == {"Elastic"}


# ---------------------------------------------------------------- units

UNIT_MISTAKES: dict[str, tuple[Callable[[Labels, ase.Atoms], Labels], str]] = {
    "hartree": (
        lambda labels, atoms: {"energy": labels["energy"] / EV_PER_HARTREE},
        "data.units={energy: hartree, forces: eV/angstrom, stress: eV/angstrom^3}",
    ),
    "per atom": (
        lambda labels, atoms: {"energy": labels["energy"] / len(atoms)},
        "data.keys={energy_per_atom: energy}",
    ),
    "hartree/bohr": (
        lambda labels, atoms: {"forces": labels["forces"] / (EV_PER_HARTREE / ANGSTROM_PER_BOHR)},
        "data.units={forces: hartree/bohr}",
    ),
    "atomic units": (
        lambda labels, atoms: {
            "energy": labels["energy"] / EV_PER_HARTREE,
            "forces": labels["forces"] / (EV_PER_HARTREE / ANGSTROM_PER_BOHR),
        },
        "data.units={energy: hartree, forces: hartree/bohr}",
    ),
    "gradients": (lambda labels, atoms: {"forces": -labels["forces"]}, "change their sign"),
    "sign of stress": (lambda labels, atoms: {"stress": -labels["stress"]}, "data.units={stress_sign: vasp}"),
    "GPa": (lambda labels, atoms: {"stress": 160.2177 * labels["stress"]}, "data.units={stress: GPa}"),
    "VASP's kbar": (
        lambda labels, atoms: {"stress": -1602.177 * labels["stress"]},
        "data.units={stress: kbar, stress_sign: vasp}",
    ),
    "virial": (
        lambda labels, atoms: {"stress": -atoms.get_volume() * labels["stress"]},
        "data.keys={virial: stress}",
    ),
}


def test_consistent_labels_raise_no_alarm(rattled: list[ase.Atoms]) -> None:
    assert consistency_warnings(rattled) == []
    assert consistency_warnings(rattled[:2]) == []
    assert consistency_warnings([ase.Atoms(), ase.Atoms("Ar")]) == []


@pytest.mark.parametrize("mistake", UNIT_MISTAKES)
def test_each_mistake_is_named_with_what_to_type(rattled: list[ase.Atoms], mistake: str) -> None:
    change, remedy = UNIT_MISTAKES[mistake]
    (text,) = consistency_warnings(changed(rattled, change))
    assert remedy in text
    assert "contradict each other" in text


def test_images_and_numbers_of_atoms_per_pair(rattled: list[ase.Atoms]) -> None:
    """Atoms wrapped into the cell are compared by their nearest images; N is each pair's own."""
    frames = []
    for k in range(6):
        for repeat in ((1, 1, 1), (2, 1, 1)):
            atoms = bulk("Ar", a=5.3, cubic=True).repeat(repeat)
            atoms.rattle(0.05, seed=k)
            atoms.wrap()
            frames.append(labeled(atoms))
    assert consistency_warnings(frames) == []
    (text,) = consistency_warnings(changed(frames, UNIT_MISTAKES["per atom"][0]))
    assert "ΔE is 1/N of -F·Δr" in text


def test_molecules_and_slabs_are_compared_too() -> None:
    for pbc in (False, [True, True, False]):
        frames = []
        for k in range(6):
            atoms = bulk("Ar", a=5.3, cubic=True)
            atoms.pbc = pbc
            atoms.rattle(0.05, seed=k)
            frames.append(labeled(atoms))
        assert consistency_warnings(frames) == []
        assert "hartree" in consistency_warnings(changed(frames, UNIT_MISTAKES["hartree"][0]))[0]


@pytest.mark.parametrize(
    "name",
    ["mlearn/Si_train.xyz", "mlearn/Li_train.xyz", "mlearn/Cu_test.xyz", "dft_Li2O/Li2O.xyz", "dft_MgO/MgO.xyz",
     "misc/Li_electrode_finetune.xyz", "les_bec/spice_water.xyz", "phonon_ref/NaCl_p3_rd.xyz"],
)  # fmt: skip
def test_no_false_alarm_on_real_data(gnnpot_data: Path, name: str) -> None:
    frames = ase.io.read(gnnpot_data / name, ":")
    assert consistency_warnings(frames) == []


@pytest.mark.parametrize("name", ["mlearn/Si_train.xyz", "dft_Li2O/Li2O.xyz"])
@pytest.mark.parametrize("mistake", ["hartree", "per atom", "hartree/bohr", "sign of stress", "VASP's kbar"])
def test_mistakes_in_real_data_are_named(gnnpot_data: Path, name: str, mistake: str) -> None:
    change, remedy = UNIT_MISTAKES[mistake]
    frames = changed(ase.io.read(gnnpot_data / name, ":"), change)
    (text,) = consistency_warnings(frames)
    assert remedy in text

import io

import ase
import numpy as np
import pytest
from ase.build import bulk
from ase.calculators.singlepoint import SinglePointCalculator
from rich.console import Console

from gnnpot.data.splits import Split, split_files
from gnnpot.errors import DataError, DataWarning
from gnnpot.training import inspection
from gnnpot.training.dataset import Dataset
from gnnpot.training.inspection import frames_without_twins, inspect_data

from .conftest import copper

LOSS = {name: {"weight": 1.0} for name in ("energy", "forces", "stress")}


def dataset(train: list[ase.Atoms], test: list[ase.Atoms]) -> Dataset:
    drawn = split_files(train, None, test, fractions=(0.8, 0.2, 0.0), kind="random")
    frames = [*train, *test]
    split = Split(np.arange(len(train)), drawn.val[:0], drawn.test, "file", None, 0, drawn.data_sha256, drawn.reason)
    return Dataset(frames, split, "copper", "unknown")


def without(frames: list[ase.Atoms], *names: str) -> list[ase.Atoms]:
    for atoms in frames:
        results = {name: value for name, value in atoms.calc.results.items() if name not in names}
        atoms.calc = SinglePointCalculator(atoms, **results)
    return frames


def test_the_table_counts_labels_by_part() -> None:
    text = io.StringIO()
    inspect_data(dataset(copper(8), copper(3, seed=1)), LOSS, Console(file=text, width=100))
    lines = [line.split() for line in text.getvalue().splitlines()]
    assert ["training", "8", "23", "8", "69", "8"] in lines
    assert ["test", "3", "9", "3", "27", "3"] in lines


def test_good_data_give_no_warning(recwarn: pytest.WarningsRecorder) -> None:
    inspect_data(dataset(copper(12), copper(3, seed=1)), LOSS, Console(quiet=True))
    assert not recwarn.list


@pytest.mark.parametrize("name", ["energy", "forces"])
def test_an_absent_label_is_refused_with_what_to_type(name: str) -> None:
    frames = without(copper(8), name)
    frames[0].info["dft_value"] = 1.0
    with pytest.raises(DataError, match=rf"(?s)none of the 8 training frames has {name}.*dft_value.*data\.keys") as one:
        inspect_data(dataset(frames, copper(3, seed=1)), LOSS, Console(quiet=True))
    assert str(one.value).endswith(f"data.keys={{{name}: NAME}}; otherwise do without: loss.{name}.weight=0")


def test_direct_forces_need_no_energy(recwarn: pytest.WarningsRecorder) -> None:
    inspect_data(dataset(without(copper(8), "energy"), copper(3, seed=1)), LOSS, Console(quiet=True), ("forces",))
    assert not recwarn.list


def test_frames_that_look_wrong_are_named() -> None:
    squeezed = copper(8)
    squeezed[5].info |= {"source": "cu.xyz", "frame": 5}
    squeezed[5].set_cell(0.5 * squeezed[5].cell, scale_atoms=True)
    squeezed[5].calc = SinglePointCalculator(squeezed[5], energy=-1.0)
    with pytest.warns(DataWarning, match=r"1 of 8 frames have atoms nearer .*cu\.xyz, frame 5"):
        inspect_data(dataset(squeezed, []), LOSS, Console(quiet=True))


def test_a_label_that_is_not_wanted_may_be_absent(recwarn: pytest.WarningsRecorder) -> None:
    loss = {**LOSS, "forces": {"weight": 0.0}}
    inspect_data(dataset(without(copper(8), "forces"), copper(3, seed=1)), loss, Console(quiet=True))
    assert not recwarn.list


def test_no_labels_are_refused() -> None:
    with pytest.raises(DataError, match="none of the 8 training frames"):
        inspect_data(dataset(without(copper(8), "energy", "forces", "stress"), []), LOSS, Console(quiet=True))


def test_validation_frames_without_a_wanted_label_are_warned_of() -> None:
    frames = [*copper(8), *without(copper(3, seed=1), "energy")]
    drawn = split_files(frames[:8], frames[8:])
    data = Dataset(frames, drawn, "copper", "unknown")
    with pytest.warns(DataWarning, match=r"none of the 3 validation frames has energy.*data\.val_path"):
        inspect_data(data, LOSS, Console(quiet=True))


def test_bare_frames_are_counted() -> None:
    with pytest.warns(DataWarning, match="1 of 9 frames have no label"):
        inspect_data(dataset([*copper(8), bulk("Cu", a=3.9)], []), LOSS, Console(quiet=True))


def test_frames_on_both_sides_are_named() -> None:
    frames = copper(8)
    with pytest.warns(DataWarning, match="1 of 1 test frames stand in the training part too"):
        inspect_data(dataset(frames, copper(5)[4:]), LOSS, Console(quiet=True))


def test_of_many_frames_some_are_compared_and_a_part_may_be_empty(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inspection, "MANY", 5)
    monkeypatch.setattr(inspection, "COMPARED", 3)
    frames = copper(8)
    with pytest.warns(DataWarning, match="2 of 3 test frames stand in the training part too"):
        inspect_data(dataset(frames, [frames[0], *copper(3, seed=1), frames[7]]), LOSS, Console(quiet=True))


def test_test_frames_with_a_twin_in_the_training_part_are_masked() -> None:
    train, test = copper(8), copper(3, seed=1)
    assert frames_without_twins(dataset(train, test)) is None
    mask = frames_without_twins(dataset(train, [*test, train[5]]))
    assert mask is not None
    assert mask.tolist() == [True, True, True, False]

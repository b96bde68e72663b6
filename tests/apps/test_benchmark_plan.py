"""What a configuration of a benchmark may say, and what to type where it says something else."""

import numpy as np
import pytest
from ase.build import bulk
from ase.calculators.singlepoint import SinglePointCalculator

from gnnpot.apps.benchmark import benchmark
from gnnpot.apps.benchmark_ase import evaluate_calculator, refuse_other_errors
from gnnpot.apps.benchmark_plan import DataRecord, data_of, entrants_of
from gnnpot.config import compose
from gnnpot.data.splits import Split
from gnnpot.errors import ConfigError


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"models": "hdnnp"}, r"models='hdnnp': give a list, as models=\[hdnnp,schnet\]"),
        ({"sizes": 50}, r"sizes=50: give a list, as sizes=\[50,200,null\]"),
        ({"sizes": [True]}, "numbers of training structures"),
        ({"seeds": 1}, r"seeds=1: give a list, as seeds=\[0,1,2\]"),
        ({"overrides": "batch_size=8"}, "overrides='batch_size=8': give a list"),
        ({"datasets": ["Li2O", "MgO"]}, r"give each a name, as datasets=\{MgO: MgO"),
        ({"datasets": {"GaN (a)": "Li2O", "GaN-a": "MgO"}}, "'GaN-a' would share the folder 'GaN-a' with another"),
        ({"models": [{"ase": "ase.calculators.emt.EMT", "arguments": [1]}]}, r"give their names, as \{sigma: 2\.5\}"),
    ],
)
def test_what_is_no_list_or_has_no_name_of_its_own_is_explained(tmp_path, change, message):
    with pytest.raises(ConfigError, match=message):
        benchmark({"models": ["hdnnp"], "output": str(tmp_path), "dry_run": True, **change})


def record_of(test):
    frames = [bulk("Cu", a=a) for a in (3.5, 3.6, 3.7, 3.8)]
    for frame in frames:
        frame.calc = SinglePointCalculator(frame, energy=-3.5, forces=np.zeros((1, 3)))
    return DataRecord(
        "copper", frames, Split(np.array([0]), np.array([1]), np.array(test), "", None, 0, "", "ab"), {}, ""
    )


def test_curves_without_measurements_are_refused(tmp_path):
    with pytest.raises(ConfigError, match="measure=false leaves all of them out"):
        benchmark({"models": ["hdnnp"], "output": str(tmp_path), "dimers": ["Li2.xyz"], "measure": False})


def test_a_data_set_of_its_own_file_is_not_read_from_the_shared_ones():
    data = compose("benchmark")["data"] | {"train_path": "shared.xyz", "test_path": "shared_test.xyz"}
    found = data_of({"data": data, "datasets": {"A": "a.xyz", "B": {"train_path": "b.xyz"}, "C": {"charge": 1.0}}})
    assert [found[name]["path"] for name in "AB"] == ["a.xyz", data["path"]]
    assert [found[name]["train_path"] for name in "ABC"] == [None, "b.xyz", "shared.xyz"]
    assert [found[name]["test_path"] for name in "ABC"] == [None, None, "shared_test.xyz"]


def test_errors_of_a_calculator_with_other_arguments_or_structures_are_refused(tmp_path):
    """They would stand on the page as those of the arguments that are named there."""
    calculator = {"ase": "ase.calculators.lj.LennardJones", "name": "lj", "arguments": {"sigma": 2.3}}
    (entrant,) = entrants_of([calculator])
    refuse_other_errors(entrant, record_of([2, 3]), tmp_path)
    evaluate_calculator(entrant, record_of([2, 3]), tmp_path)
    refuse_other_errors(entrant, record_of([2, 3]), tmp_path)
    with pytest.raises(ConfigError, match="test: other frames"):
        refuse_other_errors(entrant, record_of([3]), tmp_path)
    (other,) = entrants_of([{**calculator, "arguments": {"sigma": 2.5}}])
    with pytest.raises(ConfigError, match=r"arguments: \{'sigma': '2\.3'\} there, \{'sigma': '2\.5'\} now"):
        refuse_other_errors(other, record_of([2, 3]), tmp_path)

import io

import numpy as np
import pytest
from rich.console import Console

from gnnpot.report.facts import facts_table
from gnnpot.report.metrics import part_metrics
from gnnpot.report.page import Column, Table
from gnnpot.report.parity import parity_data
from gnnpot.report.tables import (
    COUNT_TITLES,
    config_type_table,
    coverage_table,
    element_table,
    metrics_table,
    summary_line,
)
from gnnpot.report.terminal import rich_table, say
from gnnpot.report.worst import worst_table


def printed(table: Table, width: int = 80) -> str:
    stream = io.StringIO()
    Console(file=stream, width=width).print(rich_table(table))
    return stream.getvalue()


@pytest.fixture
def metrics(parts):
    return {**{part: part_metrics(data) for part, data in parts.items()}, "timing": {"training_s": 1.0}}


def test_every_error_is_printed_with_its_unit_within_80_columns(metrics):
    text = printed(metrics_table(metrics))
    for word in (
        "training",
        "validation",
        "test",
        "MAE",
        "RMSE",
        "energy (meV/atom)",
        "forces (meV/Å)",
        "stress (GPa)",
    ):
        assert word in text
    assert "…" not in text
    assert "\x1b" not in text


@pytest.mark.parametrize("build", [element_table, config_type_table])
def test_group_tables_fit_a_terminal(metrics, build):
    text = printed(build(metrics))
    assert "…" not in text and "forces (meV/Å)" in text


def test_groups_of_another_part_can_be_asked_for(metrics):
    assert [row[0] for row in element_table(metrics, "train").rows] == ["Li", "O"]
    assert config_type_table({"test": {}}).rows == ()


def test_facts_have_no_empty_heading_and_sentences_no_markup():
    lines = printed(facts_table({"n_frames": 3})).splitlines()
    assert [line.split() for line in lines if line.strip()] == [["frames", "3"]]
    stream = io.StringIO()
    say(Console(file=stream, width=20), "written to runs/[b]a[/b]/model, and then\nmore")
    assert stream.getvalue() == "written to runs/[b]a[/b]/model, and then\nmore\n"


def test_groups_without_errors_make_no_table():
    assert element_table({"test": {"per_element": {"Li": {"n_atoms": 3}}}}).rows == ()


def test_coverage_says_which_share_has_the_label():
    table = coverage_table(
        {"train": {"n_structures": 4, "n_atoms": 2, "n_energy": 3, "n_force_components": 6}, "val": {}}
    )
    assert table.rows[0] == ("training", "4", "2", "3 (75 %)", "6")
    assert table.rows[1][0] == "validation"
    assert "components" in printed(table)


@pytest.mark.parametrize("absent", ["n_polarization", "n_dielectric"])
def test_coverage_of_every_label_fits_a_terminal(absent):
    """Of all labels but one: a dielectric tensor is never learned, and few data sets hold everything."""
    keys = [key for key in COUNT_TITLES if key != absent]
    counts = dict.fromkeys(keys, 24_000) | {"n_atoms": 72_000, "n_force_components": 216_000, "n_born": 72_000}
    text = printed(coverage_table({"training": counts}))
    assert ["training", *(f"{counts[key]:,}" for key in keys)] in [line.split() for line in text.splitlines()]
    assert ("ε∞" in text) == (absent != "n_dielectric")


def test_the_result_in_a_line(metrics):
    line = summary_line(metrics)
    assert line.startswith("test MAE: energy ") and line.endswith("GPa (5 structures)")
    assert summary_line({}) == "no errors to report"
    assert summary_line({"test": {"counts": {"n_structures": 1}}}) == "test: no labels to compare with"


def test_worst_structures_come_first_and_unlabeled_ones_not_at_all():
    labels = [{"energy": 0.0, "forces": np.zeros((1, 3))}, {"energy": 0.0}, {"energy": 0.0, "forces": np.zeros((1, 3))}]
    off = {"energy": 0.5, "forces": np.array([[0.3, 0.0, 0.4]])}
    predictions = [{"energy": -0.5, "forces": np.zeros((1, 3))}, off, off]
    data = parity_data(labels, predictions, [np.array([14])] * 3, names=["a", "b", "c"])
    assert worst_table(data).rows == (
        ("c", "Si", "500", "289", "500"),
        ("a", "Si", "−500", "0", "0"),
    )
    without_forces = parity_data([{"energy": 0.0}] * 2, [{"energy": 0.1}, {"energy": -0.2}], [np.array([14])] * 2)
    assert [row[0] for row in worst_table(without_forces, 1).rows] == ["frame 1"]
    assert worst_table(parity_data([{}], [{}], [np.array([14])])).rows == ()


def test_the_folder_that_all_files_share_is_not_repeated():
    label, off = {"energy": 0.0}, [{"energy": 3.0}, {"energy": 2.0}]
    numbers = [np.array([14])] * 2
    same = parity_data([label] * 2, off, numbers, names=["/a/b/x.xyz, frame 0", "/a/b/y.xyz, frame 1"])
    assert [row[0] for row in worst_table(same).rows] == ["x.xyz, frame 0", "y.xyz, frame 1"]
    apart = parity_data([label] * 2, off, numbers, names=["a/b/x.xyz, frame 0", "a/c/x.xyz, frame 0"])
    assert [row[0] for row in worst_table(apart).rows] == ["b/x.xyz, frame 0", "c/x.xyz, frame 0"]
    mixed = parity_data([label] * 2, off, numbers, names=["a/x.xyz, frame 0", "x.xyz, frame 0"])
    assert [row[0] for row in worst_table(mixed).rows] == ["a/x.xyz, frame 0", "x.xyz, frame 0"]


def test_markup_and_control_characters_are_taken_literally():
    table = Table(
        (Column("name", is_number=False), Column("n", "group")), (("[red]a[/red]\x1b[2J|`", "1"),), title="[b]t"
    )
    text = printed(table)
    assert "[red]a[/red]" in text and "\x1b" not in text and "[b]t" in text
    assert r"\[red\]a" in table.markdown() and r"\|" in table.markdown()

"""The parts of a benchmark's page, from made-up results whose numbers are known."""

import base64
import re

import numpy as np
import pytest

from gnnpot.report.benchmark_functions import functions_section
from gnnpot.report.benchmark_page import benchmark_page, markdown_of
from gnnpot.report.benchmark_physics import deviation_table, physics_section
from gnnpot.report.benchmark_plots import (
    _running_median,
    efficiency_figure,
    force_error_medians,
    model_colors,
    pareto_figure,
    pareto_front,
    structure_picture,
)
from gnnpot.report.benchmark_procedure import procedure_sections
from gnnpot.report.benchmark_tables import cost_table, difference_table, differences_of, physics_table
from gnnpot.report.page import Folded, Gallery, Table
from gnnpot.report.parity import parity_data, save_parity
from gnnpot.report.worst import worst_structures

from .conftest import made_up_part

DATA = "Li2O"
COLORS = model_colors(["hdnnp", "gnnff", "eam"])


def made_up_cell(model, size, seed, energy, forces, **more):
    return {
        "data": DATA,
        "model": model,
        "size": size,
        "seed": seed,
        "status": "finished",
        "folder": f"cells/{model}-{size}-seed{seed}",
        "errors": {
            "energy_mae_mev_per_atom": energy,
            "energy_rmse_mev_per_atom": 1.3 * energy,
            "forces_mae_mev_per_ang": forces,
            "forces_rmse_mev_per_ang": 1.3 * forces,
        },
        "timing": {"training_cpu_s": 200.0 * seed + 100.0, "training_s": 60.0, "peak_memory_mb": 400.0},
        "provenance": {"n_parameters": 1234},
        "weights_sha256": f"{seed}" * 64,
        **more,
    }


def made_up_difference(a, b, value, low, high):
    shared = {"data": DATA, "property": "forces", "statistic": "mae", "n_units": 5, "is_grouped": False}
    return {**shared, "a": a, "b": b, "difference": value, "low": low, "high": high}


def made_up_measures():
    r = [1.0, 2.0, 3.0, 6.0]
    dimer = {
        "bond": 1.32,
        "distance": r,
        "energy": {"hdnnp": [9.0, -1.0, -0.5, 0.0], "gnnff": [2.0, -1.0, -0.5, 0.0]},
        "repels_down_to": {"hdnnp": 1.0, "gnnff": 1.0},
        "in_box": ["hdnnp"],
        "missing": {"eam": "No EMT-potential for O"},
        "deviation": {"hdnnp": {"all": 0.5, "outer": 0.25}, "gnnff": {"all": 3.5, "outer": 0.125}},
    }
    return {
        "cost": {"n_atoms": 64, "rounds": 15, "s_per_atom_step": {"hdnnp": 1e-5, "gnnff": 1e-4}},
        "physics": {
            "hdnnp": {"net_force": 1e-9, "nonconservativeness": 1e-6, "drift": 0.0123, "drift_of_forces": 0.0131},
            "gnnff": {"net_force": 0.01, "nonconservativeness": 0.2, "drift": None, "drift_of_forces": 87.0},
        },
        "stretch": {
            "where": "Li-O bond of 2.00 Å",
            "models": {"hdnnp": {"distance": r, "force": [3.0, 0.0, -1.0, 0.0], "roughness": 0.001}},
        },
        "dimers": {"O-O": dimer},
        "dimers_left_out": 4,
        "dimer_references": {"O-O": {"distance": r, "energy": [9.5, -1.0, -0.5, 0.0]}},
        "structure": {"formula": "Li2O", "n_atoms": 12},
        "drift": {"temperature": 300.0, "steps": 600, "timestep": 0.5},
    }


@pytest.fixture
def results(tmp_path):
    """Two models trained on 20 and 40 structures with two seeds each, and a finished one."""
    part = made_up_part(2)
    packed = base64.b64encode(save_parity(tmp_path / "p.npz", {"test": part}).read_bytes()).decode()
    cells = [
        made_up_cell(model, size, seed, energy + 0.2 * seed, forces * (1.0 if size is None else 2.0) + 2.0 * seed)
        for model, energy, forces in (("hdnnp", 4.0, 60.0), ("gnnff", 1.0, 20.0))
        for size in (20, None)
        for seed in (0, 1)
    ]
    eam = {"provenance": {"packages": {"ase": "3.29.0"}}, "timing": {}}
    cells.append({k: v for k, v in {**made_up_cell("eam", None, 0, 90.0, 900.0), **eam}.items() if "sha" not in k})
    worst = {
        "numbers": [3, 3, 8],
        "positions": [[0.0, 0, 0], [2.0, 0, 0], [0, 2.0, 0]],
        "cell": (4.0 * np.eye(3)).tolist(),
        "pbc": [True] * 3,
        "force_errors": [1.0, 2.0, 9.0],
    }
    split = {"reason": "random", "seed": 0, "n_train": 40, "n_val": 5, "n_test": 5, "kind": "random", "group_by": None}
    return {
        "format_version": 1,
        "gnnpot": "0",
        "command": "gnnpot benchmark",
        "settings": {"loss": {"forces.kind": "huber"}},
        "environment": {"numpy": "2.0"},
        "jobs": 1,
        "models": {
            "hdnnp": {"kind": "trained", "overrides": ["model=hdnnp"], "differences": {}},
            "gnnff": {"kind": "trained", "overrides": ["model=gnnff"], "differences": {}},
            "eam": {"kind": "finished", "calculator": "ase.calculators.emt.EMT", "arguments": {}},
        },
        "data": {
            DATA: {
                "level_of_theory": "PBE",
                "elements": ["Li", "O"],
                "n_structures": 50,
                "sizes": [20, None],
                "split": split,
                "sha256": "ab" * 32,
            }
        },
        "cells": cells,
        "measures": {DATA: made_up_measures()},
        "search": {},
        "comparisons": [
            made_up_difference("hdnnp", "gnnff", -40.0, -50.0, -30.0),
            made_up_difference("hdnnp", "eam", 10.0, -5.0, 25.0),
        ],
        "parity": {DATA: dict.fromkeys(("hdnnp", "gnnff"), packed)},
        "worst": {
            DATA: {
                "model": "gnnff",
                "file": "worst-Li2O.extxyz",
                "rows": [int(row) for row in worst_structures(part, 2)],
                "structures": [worst, worst],
            }
        },
    }


def section_of(results, title):
    found = [section for section in benchmark_page(results).sections if section.title == title]
    assert len(found) == 1, [section.title for section in benchmark_page(results).sections]
    return found[0]


def blocks_of(section, kind):
    return [block for block in section.blocks if isinstance(block, kind)]


def test_learning_from_more_data(results):
    """With the most structures the seeds of hdnnp have 60 and 62, of gnnff 20 and 22: means 61 and 21."""
    gallery = blocks_of(section_of(results, "Learning from more data"), Gallery)[0]
    energy, forces = gallery.figures
    assert "gnnff 21.0, hdnnp 61.0 meV/Å" in forces.description
    assert "gnnff 1.10, hdnnp 4.10 meV/atom" in energy.description


def test_one_size_is_no_curve(results):
    assert efficiency_figure("forces", {"hdnnp": {40: [60.0]}}, {}, COLORS) is None
    results["cells"] = [cell for cell in results["cells"] if cell["size"] is None]
    assert "Learning from more data" not in [section.title for section in benchmark_page(results).sections]


def test_a_model_whose_larger_runs_are_missing_is_named(results):
    """Its errors are of 20 structures, those of the others of 40: the tables must not pass it off as one of 40."""
    named = "fewer, for their larger runs are missing"
    assert named not in blocks_of(section_of(results, "Accuracy"), Table)[0].caption
    gone = [c for c in results["cells"] if c["model"] == "gnnff" and c["size"] is None]
    for cell in gone:
        cell["status"] = "failed"
        cell["failure"] = "out of memory"
    caption = blocks_of(section_of(results, "Accuracy"), Table)[0].caption
    assert "trained on 40 structures" in caption
    assert f"{named}: gnnff (20 structures)" in caption
    assert "fewer structures than the others: gnnff (20 structures)" in benchmark_page(results).lead


def test_a_front_joins_what_none_beats():
    costs, errors = {"eam": 1.0, "hdnnp": 10.0, "gnnff": 100.0}, {"eam": 900.0, "hdnnp": 60.0, "gnnff": 20.0}
    figure = pareto_figure("Training time", "s", costs, errors, "force MAE", COLORS)
    assert "eam: 1.00 s, 900; hdnnp: 10.0 s, 60.0; gnnff: 100 s, 20.0" in figure.description
    assert pareto_front(costs, errors) == ["eam", "hdnnp", "gnnff"]
    assert pareto_front(costs, {**errors, "hdnnp": 950.0}) == ["eam", "gnnff"]
    assert pareto_figure("Training time", "s", {"eam": 1.0}, errors, "force MAE", COLORS) is None
    assert pareto_figure("Training time", "s", {**costs, "eam": 0.0, "gnnff": 0.0}, errors, "", COLORS) is None


def test_differences_name_the_lower_error(results):
    """Rows subtract the more accurate model: gnnff less hdnnp is -40, so hdnnp less gnnff is 40."""
    rows = {row[0]: row[1:] for row in difference_table(results, DATA).rows}
    assert rows["hdnnp less gnnff"][1:] == ("40.0", "30.0 to 50.0", "gnnff")
    assert rows["eam less hdnnp"][1:] == ("10.0", "−5.00 to 25.0", "cannot be told")
    assert difference_table({**results, "comparisons": []}, DATA) is None


def test_costs(results):
    """100 and 300 s of two seeds; 1e-5 s per atom and step are 86400/(1000·1e-5) = 8.64 million steps a day."""
    rows = {row[0]: row[1:] for row in cost_table(results, DATA).rows}
    assert rows["hdnnp"] == ("1,234", "3 min 20 s", "1 min 00 s", "–", "400", "10.0", "8,640,000")
    assert rows["eam"] == ("–",) * 7


def test_what_comes_on_top_of_the_epochs_is_told(results):
    """The first run computes symmetry functions, whatever its size and seed; the later ones find them."""
    cells = [cell for cell in results["cells"] if cell["model"] == "hdnnp" and cell["status"] == "finished"]
    for k, cell in enumerate(cells):
        cell["timing"]["total_s"] = 70.0 if k else 900.0
    rows = {row[0]: row[1:] for row in cost_table(results, DATA).rows}
    assert rows["hdnnp"][1:4] == ("3 min 20 s", "1 min 00 s", "15 min 00 s")
    (table,) = blocks_of(section_of(results, "Accuracy against cost"), Table)
    assert "A whole run also reads the data, computes symmetry functions" in table.caption


def test_physics_of_a_page(results):
    section = section_of(results, "Physics")
    laws, deviations = blocks_of(section, Table)
    rows = {row[0]: row[1:] for row in laws.rows}
    assert rows["hdnnp"][2:4] == ("0.012", "0.013")
    assert rows["gnnff"][2:4] == ("–", "87")
    assert rows["hdnnp"][4:] == ("1.0", "0.76")
    assert "what the atoms gain from nowhere" in laws.caption
    said = section.blocks[-2].text
    assert "No dimers of eam for O-O: No EMT-potential for O." in said
    assert "hdnnp: the two atoms lie in a large periodic cell" in said
    assert "4 further pairs" in said
    assert [column.title for column in deviations.columns[3:]] == ["gnnff", "hdnnp", "eam"] * 2
    assert deviations.rows == (("O-O", "4", "1.00 to 6.00", "3.50", "0.500", "–", "0.125", "0.250", "–"),)
    gallery = blocks_of(section, Gallery)[0]
    stretch, dimer = gallery.figures
    assert stretch.description.startswith("Stretch of a Li-O bond of 2.00 Å")
    assert dimer.description.startswith("Dimer O-O: energy of 2 models")


def test_nothing_measured_is_no_section(results):
    assert physics_section({**results, "measures": {}}, DATA, COLORS) is None
    assert physics_table({**results, "measures": {}}, DATA) is None
    assert deviation_table({**made_up_measures(), "dimers": {}}, ["hdnnp"]) is None


def test_many_dimers_are_folded(results):
    dimers = results["measures"][DATA]["dimers"]
    dimers |= {f"{k}-{k}": {**dimers["O-O"], "deviation": {}} for k in range(9)}
    (folded,) = blocks_of(section_of(results, "Physics"), Folded)
    assert folded.title == "5 further pairs of elements"


def test_results_of_an_older_version_are_rendered(results):
    """Without what was added since: drifts of forces alone, deviations, hashes, settings of a model's own."""
    for cell in results["cells"]:
        cell.pop("weights_sha256", None)
    for row in results["models"].values():
        row.pop("differences", None)
    measures = results["measures"][DATA]
    measures["dimers"] = {"O-O": {k: measures["dimers"]["O-O"][k] for k in ("bond", "distance", "energy")}}
    measures["dimers"]["O-O"]["repels_down_to"] = {"hdnnp": 1.0, "gnnff": 1.0}
    del measures["dimers_left_out"], measures["physics"]["hdnnp"]["drift_of_forces"]
    assert "## Physics" in markdown_of(benchmark_page(results))


def test_pictures_ring_the_largest_errors(results):
    """One of three atoms is ringed: rings alone are drawn in lines of 1.8 points. A cell has 12 edges."""
    structure = results["worst"][DATA]["structures"][0]
    image = structure_picture(structure, "Worst structure 1", "frame 7").image.decode()
    assert len(re.findall(r"stroke-width: 1\.8", image)) == 1
    assert len(re.findall(r"stroke-width: 0\.5", image)) == 2
    assert len(re.findall(r"stroke: #aeb7c3", image)) == 12
    bare = structure_picture({**structure, "force_errors": []}, "Worst structure 1", "frame 7")
    assert "stroke-width: 1.8" not in bare.image.decode()
    assert bare.description == "Worst structure 1: 3 atoms of Li, O"


def proportional_part(share, n_structures=40, n_atoms=12):
    """Forces of many lengths, whose errors are a share of them."""
    rng = np.random.default_rng(0)
    numbers = [np.full(n_atoms, 3)] * n_structures
    forces = [rng.normal(size=(n_atoms, 3)) for _ in numbers]
    labels, predictions = [{"forces": f} for f in forces], [{"forces": (1.0 + share) * f} for f in forces]
    frames = list(range(n_structures))
    return parity_data(labels, predictions, numbers, [None] * n_structures, frames, [str(k) for k in frames])


def test_medians_of_force_errors():
    """Errors of a tenth of the force: the medians of equally filled bins lie on that line."""
    x, low, middle, high = _running_median(proportional_part(0.1))
    assert len(x) == 480 // 40
    np.testing.assert_allclose(middle, 0.1 * x, rtol=1e-4)
    assert (low < middle).all() and (middle < high).all() and (np.diff(x) > 0).all()
    figure = force_error_medians({"hdnnp": proportional_part(0.1), "gnnff": proportional_part(0.2)}, COLORS)
    assert "medians of 2 models" in figure.description
    assert force_error_medians({"hdnnp": made_up_part(1)}, COLORS) is None


def test_settings_of_a_models_own_are_on_the_page(results):
    """The caption says that the loss is the same for all only where it is."""
    assert "and the same for all: splits, reference energies, loss, optimizer, budget" in models_table(results).caption
    kinds = {"own": "mse", "shared": "huber"}
    results["models"]["hdnnp"]["differences"] = {"loss.forces.kind": kinds, "loss.polarization.kind": kinds}
    table = models_table(results)
    assert "loss, optimizer" not in table.caption
    assert "hdnnp learned otherwise" in table.caption
    assert [row[2] for row in table.rows] == ["loss.forces.kind=mse (others: huber)", "–", "–"]
    assert differences_of(results, "eam") == {}
    accuracy = blocks_of(section_of(results, "Accuracy"), Table)[0]
    assert "hdnnp: not trained as the others" in accuracy.caption


def models_table(results):
    section = next(s for s in procedure_sections(results) if s.title == "Models and settings")
    return blocks_of(section, Table)[0]


def test_a_search_says_on_which_of_several_data_sets(results):
    found = {"trials": 3, "as_given": 2.0, "value": 1.0, "overrides": [], "space": {"optimizer.lr": [0.1]}}
    results["search"] = {"objective": "Error", "data": DATA, "models": {"hdnnp": found}}
    results["data"]["MgO"] = results["data"][DATA]
    (section,) = (s for s in procedure_sections(results) if s.title == "Models and settings")
    assert blocks_of(section, Table)[1].caption.startswith("Error, on Li2O. Test structures had no say")


def test_hashes_and_packages_are_on_the_page(results):
    section = section_of(results, "Environment")
    facts, folded = section.blocks
    assert ("of eam", "ase 3.29.0") in facts.rows
    table = folded.blocks[0]
    assert len(table.rows) == 8
    assert table.rows[1] == (DATA, "hdnnp", "20", "1", "1" * 64)


def with_functions(results, counts):
    """HDNNPs that keep so many functions, with errors that fall with their number."""
    cells = []
    for name, (of_element, size) in counts.items():
        n = sum(of_element.values()) / len(of_element)
        cells.append(made_up_cell(name, size, 0, 100.0 / n, 1000.0 / n, n_functions=of_element))
    models = {
        name: {"kind": "trained", "overrides": ["model=hdnnp", f"model.n_functions={name[1:]}"], "differences": {}}
        for name in counts
    }
    return {**results, "cells": cells, "models": models, "parity": {}, "worst": {}, "comparisons": [], "measures": {}}


def test_error_against_the_number_of_functions(results):
    found = with_functions(results, {"f32": ({"Li": 32, "O": 32}, None), "f8": ({"Li": 8, "O": 10}, None)})
    table, gallery = section_of(found, "Error against the number of symmetry functions").blocks
    assert table.rows == (("f8", "Li 8, O 10", "11.1", "111"), ("f32", "Li 32, O 32", "3.12", "31.2"))
    energy, forces = gallery.figures
    assert "as given: 9 with 111, 32 with 31.2" in forces.description
    assert "9 with 11.1, 32 with 3.12" in energy.description


@pytest.mark.parametrize(
    "counts",
    [
        {"f32": ({"Li": 32}, None)},
        {"f32": ({"Li": 32}, None), "again": ({"Li": 32}, None)},
        {"f32": ({"Li": 32}, None), "f8": ({"Li": 8}, 20)},
        {"f32": ({"Li": 32}, None), "schnet": ({}, None)},
    ],
)
def test_one_number_of_functions_is_no_section(results, counts):
    found = with_functions(results, {name: entry for name, entry in counts.items() if entry[0]})
    found["cells"] += [made_up_cell(name, None, 0, 1.0, 1.0, n_functions={}) for name in counts if not counts[name][0]]
    assert functions_section(found, DATA) is None


def test_a_page_holds_all_its_sections(results):
    titles = [section.title for section in benchmark_page(results).sections]
    assert titles == [
        "Accuracy",
        "Differences between models",
        "Learning from more data",
        "Accuracy against cost",
        "Prediction against reference",
        "Errors in detail",
        "Physics",
        "Worst structures",
        "Data and splits",
        "Models and settings",
        "Environment",
        "Command",
    ]
    worst = section_of(results, "Worst structures")
    assert [figure.caption for figure in worst.blocks[1].figures] == [row[0] for row in worst.blocks[0].rows]
    assert worst.blocks[0].caption.endswith("worst-Li2O.extxyz.")

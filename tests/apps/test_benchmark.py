"""A real, tiny benchmark: two models and a calculator of others on some frames of MgO, two seeds, two sizes."""

import json
import shutil
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest
import yaml
from ase.io import read

import gnnpot.apps.benchmark_cells as cells_module
from gnnpot.apps.benchmark import _subset, benchmark
from gnnpot.apps.benchmark_cells import failure_of, run_cell, status_of
from gnnpot.apps.benchmark_plan import DataRecord, entrants_of
from gnnpot.apps.benchmark_results import command_line
from gnnpot.apps.benchmark_search import objective_of
from gnnpot.cli import main
from gnnpot.config import compose
from gnnpot.data.bundled import bundled_path
from gnnpot.data.splits import Split
from gnnpot.data.writers import write_extxyz
from gnnpot.errors import ConfigError, DataError, GnnpotWarning, TrainingError
from gnnpot.report.benchmark_plots import dimer_figure, model_colors, stretch_figure
from gnnpot.report.benchmark_sections import open_runs_section
from gnnpot.report.benchmark_tables import physics_table, summary_sentences
from gnnpot.report.parity import load_parity
from gnnpot.training.fit import fit

TINY = ["model.cutoff=3.0", "model.n_radial=4"]
CALCULATOR = {"ase": "ase.calculators.lj.LennardJones", "name": "lj", "arguments": {"sigma": 1.8, "rc": 4.0}}


def in_this_process(folder, threads):
    """What `run_cell` does, without the seconds that a new process takes to import everything."""
    (folder / "failure.txt").unlink(missing_ok=True)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", GnnpotWarning)  # every frame has as many Mg as O
        fit({"resume": str(folder)})
    return status_of(folder)


def never(folder, threads):
    raise AssertionError(f"{folder} was run again")


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Configuration and results of a finished benchmark."""
    folder = tmp_path_factory.mktemp("benchmark")
    frames = [frame for frame in read(bundled_path("MgO"), ":") if len(frame) <= 16][:24]
    write_extxyz(folder / "mgo.extxyz", frames)
    config = {
        "models": [
            {"hdnnp": [*TINY, "model.n_angular=1", "model.hidden=[4]"]},
            {"small-schnet": ["model=schnet", *TINY, "model.n_features=8", "model.n_interactions=1"]},
            CALCULATOR,
        ],
        "data": {
            "path": str(folder / "mgo.extxyz"),
            "split": {"kind": "random", "fractions": [0.5, 0.2, 0.3]},
            "cache": str(folder / "cache"),
        },
        "trainer": {"max_epochs": 2, "accelerator": "cpu", "threads": 1},
        "sizes": [6],
        "seeds": [0, 1],
        "output": str(folder / "out"),
        "jobs": 1,
        "measure": False,
    }
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(cells_module, "run_cell", in_this_process)
        patch.setattr("gnnpot.training.fit.write_report", lambda run_dir: None)
        result = benchmark(config)
    return config, result


@pytest.fixture
def no_page(monkeypatch):
    """Leave out the page, which takes longer than all else."""
    monkeypatch.setattr("gnnpot.apps.benchmark.write_pages", lambda output, results: output)


def test_every_cell_is_finished_and_stands_in_the_results(made):
    _, result = made
    assert [cell["status"] for cell in result.results["cells"]] == ["finished"] * 5
    assert json.loads((result.output / "benchmark.json").read_text()) == result.results
    for name in ("report.html", "report.md", "worst-mgo.extxyz"):
        assert (result.output / name).stat().st_size > 1000
    text = (result.output / "report.html").read_text()
    assert "small-schnet" in text
    assert str(result.output) not in (result.output / "benchmark.json").read_text().replace(
        json.dumps(result.results["command"]), ""
    )


def test_all_models_have_the_same_frames(made):
    _, result = made
    folders = [result.output / cell["folder"] for cell in result.results["cells"]]
    tested = [load_parity(folder / "predictions.npz")["test"].frames.tolist() for folder in folders]
    assert all(frames == tested[0] for frames in tested)
    splits = [json.loads((f / "split.json").read_text()) for f in folders if (f / "split.json").is_file()]
    assert len(splits) == 4
    assert all(split == splits[0] for split in splits)
    assert [len(splits[0][part]) for part in ("train", "val", "test")] == [6, 5, 7]


def test_small_training_sets_are_part_of_larger_ones():
    split = Split(np.arange(20), np.array([20]), np.array([21]), "random", None, 3, "", "")
    record = DataRecord("a", [], split, {}, "")
    parts = [set(_subset(record, size).train.tolist()) for size in (2, 7, 20)]
    assert [len(part) for part in parts] == [2, 7, 20]
    assert parts[0] < parts[1] < parts[2]


def test_weights_and_versions_are_told(made):
    """SHA-256 as hashlib gives it, versions as the packages say them themselves."""
    import hashlib

    import ase
    import lightning

    _, result = made
    page = (result.output / "report.md").read_text()
    trained = [cell for cell in result.results["cells"] if cell["model"] != "lj"]
    for cell in trained:
        weights = (result.output / cell["folder"] / "model" / "model.safetensors").read_bytes()
        assert cell["weights_sha256"] == hashlib.sha256(weights).hexdigest()
        assert cell["weights_sha256"] in page
    assert len({cell["weights_sha256"] for cell in trained}) == 4
    versions = {"numpy": np.__version__, "ase": ase.__version__, "lightning": lightning.__version__}
    assert versions.items() <= result.results["environment"].items()
    assert f"| of lj | ase {ase.__version__} |" in page


def test_symmetry_functions_are_counted(made):
    """All lines of the model, and of the element with most as many as the networks have inputs."""
    from gnnpot.models.store import load, read_card

    _, result = made
    cells = {cell["model"]: cell for cell in result.results["cells"]}
    counts = cells["hdnnp"]["n_functions"]
    folder = result.output / cells["hdnnp"]["folder"]
    assert set(counts) == {"Mg", "O"}
    assert sum(counts.values()) == len(read_card(folder)["model"]["functions"])
    assert max(counts.values()) == load(folder).networks["O"][0].in_features
    assert cells["small-schnet"]["n_functions"] == {}


def test_settings_of_a_models_own_are_said(made, tmp_path, monkeypatch, no_page):
    """A published experiment has a loss of its own; the page must not say that the loss is the same for all."""
    from gnnpot.apps.benchmark import _shared_facts, completed_benchmark
    from gnnpot.apps.benchmark_plan import data_of

    config, _ = made
    models = ["hdnnp", {"published": ["experiment=auli_2021"]}, {"slow": ["model=hdnnp", "optimizer=adam"]}]
    whole = completed_benchmark({**config, "models": models})
    found = _shared_facts(whole, entrants_of(models), data_of(whole))["differences"]
    published, mse, huber = found["published"], compose("fit", ["loss=mse"])["loss"], compose("fit")["loss"]
    assert found["hdnnp"] == {}
    assert published["loss.forces.kind"] == {"own": "mse", "shared": "huber"}
    assert published["loss.energy.weight"] == {"own": mse["energy"]["weight"], "shared": huber["energy"]["weight"]}
    assert not any(key.startswith(("data.", "model.", "trainer.")) for key in published)
    assert found["slow"]["optimizer._target_"]["own"] == "torch.optim.Adam"


def test_the_zero_of_energy_of_a_calculator_is_fitted_to_training_frames(made):
    _, result = made
    lj = next(cell for cell in result.results["cells"] if cell["model"] == "lj")
    assert set(lj["provenance"]["reference_offsets_ev"]) == {"Mg", "O"}
    assert lj["provenance"]["n_fitted"] == 12
    assert lj["errors"]["energy_mae_mev_per_atom"] < 5000.0
    assert "fitted to the training structures" in (result.output / "report.html").read_text()


def test_finished_cells_are_not_run_again(made, tmp_path, monkeypatch, no_page):
    config, result = made
    shutil.copytree(result.output, tmp_path / "out")
    monkeypatch.setattr(cells_module, "run_cell", never)
    again = benchmark({**config, "output": str(tmp_path / "out")})
    assert [c["errors"] for c in again.results["cells"]] == [c["errors"] for c in result.results["cells"]]


def test_other_settings_are_refused_by_name(made):
    config, _ = made
    with pytest.raises(ConfigError, match=r"trainer\.max_epochs: 2 there, 3 now"):
        benchmark({**config, "trainer": {**config["trainer"], "max_epochs": 3}})
    with pytest.raises(ConfigError, match=r"(train|test): other frames"):
        benchmark({**config, "data": {**config["data"], "split": {**config["data"]["split"], "seed": 5}}})


def test_a_page_is_rendered_from_the_json_alone(made, tmp_path):
    _, result = made
    shutil.copy(result.output / "benchmark.json", tmp_path)
    assert main(["benchmark", f"output={tmp_path}", "render=true"]) == 0
    assert (tmp_path / "report.html").read_bytes() == (result.output / "report.html").read_bytes()
    assert (tmp_path / "report.md").read_text() == (result.output / "report.md").read_text()


def test_the_command_asks_for_the_same_benchmark(made):
    import shlex

    from gnnpot.apps.benchmark import completed_benchmark

    config, _ = made
    spaces = {"hdnnp": {"optimizer.lr": {"low": 0.001, "high": 0.1, "log": True}, "model.hidden": [[4], [6, 6]]}}
    for search in (None, {"trials": 3}, {"trials": 3, "max_time": "00:00:01:00", "spaces": spaces}):
        whole = completed_benchmark({**config, "search": search} if search else config)
        assert compose("benchmark", shlex.split(command_line(whole))[2:]) == whole


def test_a_failed_cell_is_reported_and_not_fatal(made, tmp_path, monkeypatch, no_page):
    config, result = made
    output = tmp_path / "out"
    shutil.copytree(result.output, output)
    (output / "cells" / "mgo" / "small-schnet-6-seed1" / "metrics.json").unlink()
    failing = [sys.executable, "-c", "import sys; print('before'); sys.exit('gnnpot: the disk is full')"]
    monkeypatch.setattr(cells_module, "command_of", lambda folder: failing)
    found = benchmark({**config, "output": str(output), "seeds": [0, 1]})
    assert [cell["status"] for cell in found.results["cells"]].count("failed") == 1
    section = open_runs_section(found.results)
    assert "small-schnet-6-seed1" in section.blocks[2].title
    assert "the disk is full" in section.blocks[1].rows[0][-1]


def test_nothing_finished_is_an_error_with_the_reason(made, tmp_path, monkeypatch):
    config, _ = made
    monkeypatch.setattr(cells_module, "command_of", lambda folder: [sys.executable, "-c", "raise SystemExit('no')"])
    with pytest.raises(TrainingError, match="none of the 1 runs finished"):
        benchmark({**config, "models": ["schnet"], "seeds": [0], "sizes": [None], "output": str(tmp_path)})


def test_a_run_is_a_process_that_goes_on_where_it_was_stopped(made, tmp_path):
    _, result = made
    folder = tmp_path / "cell"
    shutil.copytree(result.output / "cells" / "mgo" / "small-schnet-6-seed0", folder)
    first = json.loads((folder / "metrics.json").read_text())
    (folder / "metrics.json").unlink()
    assert run_cell(folder, threads=1) == "finished", failure_of(folder)
    again = json.loads((folder / "metrics.json").read_text())
    assert again["test"] == first["test"]


def test_dry_run_starts_nothing(made, tmp_path, capsys):
    config, _ = made
    assert benchmark({**config, "output": str(tmp_path / "new"), "dry_run": True}) is None
    assert not (tmp_path / "new").exists()
    assert "5 runs" in capsys.readouterr().out
    slurm = {"launcher": "submitit", "slurm": {"slurm_partition": "short", "timeout_min": 60}}
    assert benchmark({**config, **slurm, "output": str(tmp_path / "new"), "dry_run": True}) is None
    assert "'slurm_partition': 'short'" in capsys.readouterr().out
    with pytest.raises(ConfigError, match="slurm="):
        benchmark({**config, **slurm, "slurm": {"no_such_key": 1}, "output": str(tmp_path), "dry_run": True})


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"modles": []}, "did you mean 'models'"),
        ({"models": ["schnett"]}, "did you mean 'schnet'"),
        ({"models": []}, "name at least one"),
        ({"models": ["schnet", "schnet"]}, "stands there twice"),
        ({"models": [{"ase": "EMT"}]}, "no dotted name"),
        ({"models": [{"ase": "a.B", "kwargs": {}}]}, "no key 'kwargs'"),
        ({"models": [{"wide": ["model=schnet", "seed=3"]}]}, r"type seeds="),
        ({"overrides": ["trainer.max_epochs=3"]}, r"type trainer\.max_epochs"),
        ({"sizes": [0]}, "numbers of training structures"),
        ({"seeds": []}, "whole numbers"),
        ({"launcher": "slurm"}, "launcher='slurm' is unknown"),
        ({"jobs": 0}, "at least 1"),
        ({"datasets": {"a": {"pth": "x"}}}, r"data\.pth is unknown; did you mean 'path'"),
        ({"models": [{"schnet": ["model.cutof=3"]}]}, "did you mean 'model.cutoff'"),
        ({"sizes": [1000]}, "12"),
    ],
)
def test_what_does_not_fit_is_explained(made, tmp_path, change, message):
    config, _ = made
    with pytest.raises((ConfigError, DataError), match=message):
        benchmark({**config, "output": str(tmp_path), **change})


def test_a_calculator_that_is_not_there_is_a_failed_run(made, tmp_path, monkeypatch, no_page):
    config, result = made
    output = tmp_path / "out"
    shutil.copytree(result.output, output)
    monkeypatch.setattr(cells_module, "run_cell", never)
    models = [*config["models"], {"ase": "no_such_package.Calculator", "name": "missing"}]
    found = benchmark({**config, "models": models, "output": str(output)})
    missing = next(cell for cell in found.results["cells"] if cell["model"] == "missing")
    assert missing["status"] == "failed"
    assert "is its package installed" in missing["failure"]


def test_submitit_runs_cells_without_slurm(made, tmp_path, monkeypatch):
    pytest.importorskip("submitit")
    monkeypatch.setattr(cells_module, "run_cell", lambda folder, threads: status_of(folder))
    _, result = made
    folder = tmp_path / "cell"
    shutil.copytree(result.output / "cells" / "mgo" / "hdnnp-6-seed0", folder)
    found = list(cells_module.run_cells([folder], 1, "submitit", {"cluster": "debug"}, tmp_path / "logs"))
    assert found == [(folder, "finished")]


def test_numbers_of_the_table_are_means_over_seeds(made):
    from gnnpot.report.benchmark_tables import accuracy_table, at_largest

    _, result = made
    rows = at_largest(result.results, "mgo")
    values = [c["errors"]["forces_mae_mev_per_ang"] for c in rows["hdnnp"]]
    line = next(row for row in accuracy_table(rows).rows if row[0] == "hdnnp")
    mean, error = np.mean(values), np.std(values, ddof=1) / np.sqrt(2)
    shown, _, deviation = line[4].replace(",", "").partition(" ± ")
    assert float(shown) == pytest.approx(mean, rel=5e-3)
    assert float(deviation) == pytest.approx(error, rel=6e-2)
    assert line[1] == "2"


def test_output_is_a_path_of_results():
    with pytest.raises(DataError, match="cannot be read as the results"):
        benchmark({"output": str(Path("/nowhere/at/all")), "render": True})


@pytest.fixture
def short_measures(monkeypatch):
    """Measure little: few steps, few points."""
    monkeypatch.setattr("gnnpot.apps.benchmark_measure.ROUNDS", 3)
    monkeypatch.setattr("gnnpot.apps.benchmark_measure.DRIFT", {"temperature": 300.0, "steps": 12, "timestep": 0.5})
    monkeypatch.setattr("gnnpot.apps.benchmark_dimers.N_DIMER", 8)
    monkeypatch.setattr("gnnpot.apps.benchmark_curves.STRETCH_STEP", 0.15)


def test_speed_and_physics_are_measured_once(made, tmp_path, monkeypatch, no_page, short_measures):
    config, result = made
    output = tmp_path / "out"
    shutil.copytree(result.output, output)
    monkeypatch.setattr(cells_module, "run_cell", never)
    config = {**config, "output": str(output), "measure": True}
    found = benchmark(config).results
    measures = found["measures"]["mgo"]
    assert set(measures["cost"]["s_per_atom_step"]) == {"hdnnp", "small-schnet", "lj"}
    assert all(0.0 < s < 1.0 for s in measures["cost"]["s_per_atom_step"].values())
    assert measures["physics"]["hdnnp"]["net_force"] < 1e-9
    assert measures["physics"]["hdnnp"]["nonconservativeness"] < 1e-4
    assert measures["physics"]["lj"]["nonconservativeness"] < 1e-4
    assert measures["physics"]["lj"]["drift"] >= 0.0
    drifts = measures["physics"]["hdnnp"]
    assert drifts["drift_of_forces"] == pytest.approx(drifts["drift"], rel=0.02, abs=1e-3)
    assert set(measures["dimers"]) == {"O-O", "O-Mg", "Mg-Mg"}
    assert measures["dimers_left_out"] == 0
    assert set(measures["stretch"]["models"]) == {"hdnnp", "small-schnet", "lj"}
    assert physics_table(found, "mgo").rows[0][3] != "–"
    assert "µs per atom and step" in summary_sentences(found)[0]
    colors = model_colors(list(found["models"]))
    assert dimer_figure("O-O", measures["dimers"]["O-O"], None, colors) is not None
    assert stretch_figure(measures["stretch"]["models"], measures["stretch"]["where"], colors) is not None
    monkeypatch.setattr("gnnpot.apps.benchmark_measure.seconds_per_atom", never)
    assert benchmark(config).results["measures"] == found["measures"]


def test_settings_are_searched_on_validation_errors_alone(made, tmp_path, monkeypatch, no_page):
    pytest.importorskip("optuna")
    config, _ = made
    monkeypatch.setattr(cells_module, "run_cell", in_this_process)
    monkeypatch.setattr("gnnpot.training.fit.write_report", lambda run_dir: None)
    space = {"hdnnp": {"optimizer.lr": {"low": 0.001, "high": 0.1, "log": True}, "model.hidden": [[4], [6]]}}
    search = {"trials": 3, "max_epochs": 1, "spaces": space}
    config = {**config, "models": config["models"][:1], "seeds": [0], "output": str(tmp_path), "search": search}
    found = benchmark(config).results
    assert found["search"]["models"]["hdnnp"]["trials"] == 3
    best = yaml.safe_load((tmp_path / "search" / "best.yaml").read_text())["models"]
    assert entrants_of(best)[0].overrides == tuple(found["models"]["hdnnp"]["overrides"])
    trials = sorted((tmp_path / "search" / "trials").iterdir())
    values = [objective_of(trial) for trial in trials]
    assert found["search"]["models"]["hdnnp"]["value"] == pytest.approx(min(values))
    assert all(not json.loads((trial / "split.json").read_text())["test"] for trial in trials)
    monkeypatch.setattr(cells_module, "run_cell", never)
    assert benchmark(config).results["search"] == found["search"]
    with pytest.raises(ConfigError, match="did you mean 'trials'"):
        benchmark({**config, "search": {"trails": 3}})
    with pytest.raises(ConfigError, match="nothing for 'hdnnp'"):
        benchmark({**config, "search": {"spaces": {"schnet": {}}}})

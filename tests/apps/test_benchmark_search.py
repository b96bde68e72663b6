"""A search that is interrupted goes on with the trainings that were under way, in their folders."""

import json

import pytest
import yaml
from rich.console import Console

import gnnpot.apps.benchmark_cells as cells_module
from gnnpot.apps.benchmark_plan import Entrant
from gnnpot.apps.benchmark_search import SearchPlan, searched
from gnnpot.errors import ConfigError, TrainingError

SPACES = {"hdnnp": {"optimizer.lr": {"low": 0.001, "high": 0.1, "log": True}}}


class Trainings:
    """What stands for trainings: each ends as it is told, and one that finishes has errors that grow with its rate."""

    def __init__(self, folder):
        self.plan = SearchPlan(4, 0, 1, "joblib", {}, folder)
        self.begun, self.endings = [], {}

    def lay_out(self, entrant, folder):
        folder.mkdir(parents=True, exist_ok=True)
        words = yaml.safe_dump(list(entrant.overrides))
        file = folder / "settings.yaml"
        assert not file.is_file() or file.read_text() == words, "begun with other settings"
        file.write_text(words)

    def run_cell(self, folder, threads):
        self.begun.append(folder.name)
        ending = self.endings.pop(folder.name, "finished")
        if ending == "interrupted":
            raise KeyboardInterrupt
        if ending == "finished":
            rate = self.rate_in(folder) or 1.0
            (folder / "metrics.json").write_text(json.dumps({"val": {"forces_mae_mev_per_ang": rate}}))
        if ending == "failed":
            cells_module.note_failure(folder, "out of memory")
        return ending

    def rate_in(self, folder):
        words = yaml.safe_load((folder / "settings.yaml").read_text())
        return next((float(w.partition("=")[2]) for w in words if w.startswith("optimizer.lr=")), None)

    def search(self, spaces=SPACES, *words):
        self.begun = []
        entrant = Entrant("hdnnp", ("model=hdnnp", *words))
        (found,) = searched([entrant], spaces, self.plan, self.lay_out, Console(quiet=True))
        summary = json.loads((self.plan.folder / "search.json").read_text())["models"]["hdnnp"]
        return found, summary


@pytest.fixture
def trainings(tmp_path, monkeypatch):
    pytest.importorskip("optuna")
    found = Trainings(tmp_path)
    monkeypatch.setattr(cells_module, "run_cell", found.run_cell)
    return found


def test_an_interrupted_search_goes_on(trainings):
    trainings.endings = {"hdnnp-0": "interrupted"}
    with pytest.raises(KeyboardInterrupt):
        trainings.search()
    trainings.endings = {"hdnnp-2": "unfinished"}
    with pytest.raises(TrainingError, match="the same command goes on"):
        trainings.search()
    assert trainings.begun == ["hdnnp-0", "hdnnp-1", "hdnnp-2"]
    found, summary = trainings.search()
    assert trainings.begun == ["hdnnp-2", "hdnnp-3"]
    rates = [trainings.rate_in(trainings.plan.folder / "trials" / f"hdnnp-{k}") for k in range(4)]
    assert rates[0] is None
    assert len(set(rates)) == 4
    assert summary["as_given"] == 1.0
    assert summary["trials"] == 4
    assert summary["value"] == min(rates[1:])
    assert found.overrides[-1] == f"optimizer.lr={min(rates[1:]):.4g}"


def test_a_training_that_ended_before_the_study_heard_of_it_is_not_repeated(trainings, monkeypatch):
    import optuna

    def lost(study, *args, **kwargs):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(optuna.Study, "tell", lost)
        with pytest.raises(KeyboardInterrupt):
            trainings.search()
    _, summary = trainings.search()
    assert trainings.begun == ["hdnnp-1", "hdnnp-2", "hdnnp-3"]
    assert summary["as_given"] == 1.0


def test_a_training_that_fails_by_itself_counts_and_is_not_repeated(trainings):
    trainings.endings = {"hdnnp-1": "failed"}
    _, summary = trainings.search()
    assert summary["trials"] == 4
    assert trainings.begun == [f"hdnnp-{k}" for k in range(4)]
    trainings.search()
    assert trainings.begun == []


def test_a_search_that_was_begun_otherwise_is_refused(trainings):
    """With all of its trials done it would hand on the best of other settings, or from outside of the space."""
    trainings.search()
    other = {"hdnnp": {"optimizer.lr": {"low": 0.2, "high": 0.3, "log": True}}}
    with pytest.raises(ConfigError, match=r"optimizer\.lr: .*0\.001.* there, .*0\.2.* now"):
        trainings.search(other)
    with pytest.raises(AssertionError, match="begun with other settings"):
        trainings.search(SPACES, "model.n_radial=3")
    _, summary = trainings.search()
    assert summary["space"] == SPACES["hdnnp"]


def test_a_model_may_stay_as_given(trainings):
    """As a published setting beside those that are searched."""
    published = Entrant("published", ("experiment=auli_2021",))
    with pytest.raises(ConfigError, match=r"type \+search\.spaces\.published=null"):
        searched([published], SPACES, trainings.plan, trainings.lay_out, Console(quiet=True))
    spaces = {**SPACES, "published": None}
    assert searched([published], spaces, trainings.plan, trainings.lay_out, Console(quiet=True)) == [published]
    assert trainings.begun == []

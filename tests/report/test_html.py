import json
import re
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest

from gnnpot.errors import DataError
from gnnpot.report.html import write_report
from gnnpot.report.metrics import part_metrics
from gnnpot.report.parity import parity_data, save_parity

from .conftest import made_up_part

VOID = {"meta", "img", "br", "link", "hr", "input"}


class Reader(HTMLParser):
    """Collects tags, addresses and text, and checks that tags are closed in order."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[str] = []
        self.addresses: list[str] = []
        self.text = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.addresses += [value or "" for name, value in attrs if name in ("src", "href", "action", "data")]
        assert not any(name.startswith("on") for name, _ in attrs)
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if not self.open or self.open[-1] != "style":
            self.text += data


def read(path: Path) -> Reader:
    reader = Reader()
    reader.feed(path.read_text(encoding="utf-8"))
    assert reader.open == []
    return reader


def test_report_holds_every_section_and_loads_nothing(run_dir):
    path = write_report(run_dir)
    assert path == run_dir / "report.html"
    page = read(path)
    for words in (
        "SchNet on Li2O.xyz", "Mean absolute errors on the 5 test structures, which were not used for training",
        "Learning curves", "Prediction against reference", "Errors in detail", "By element and kind",
        "Worst structures", "Data and split", "training structures", "Cost", "2 min 31 s", "512.3 MB",
        "Provenance", "abababab", "a processor", "config.yaml", "_target_",
    ):  # fmt: skip
        assert words in page.text, words
    assert all(address.startswith(("#", "data:image/")) for address in page.addresses)
    assert "script" not in page.tags and "link" not in page.tags
    source = path.read_text(encoding="utf-8")
    assert set(re.findall(r'href="#([^"]+)"', source)) == set(re.findall(r'<section id="([^"]+)"', source))
    assert "default-src 'none'" in source and "@import" not in source and "url(" not in source
    assert path.stat().st_size < 3e6


def test_report_is_the_same_when_written_again(run_dir):
    first = write_report(run_dir).read_bytes()
    assert write_report(run_dir).read_bytes() == first
    assert not list(run_dir.glob(".*"))


def test_metrics_alone_are_enough(tmp_path):
    metrics = {"val": {"energy_mae_mev_per_atom": 1.5}}
    (tmp_path / "metrics.json").write_text(json.dumps(metrics), encoding="utf-8")
    page = read(write_report(tmp_path))
    assert "1.50 meV/atom in energy" in page.text and "not used for training" not in page.text
    assert f"Training run {tmp_path.name}" in page.text
    (tmp_path / "metrics.json").write_text("{}", encoding="utf-8")
    assert "no errors to report" in read(write_report(tmp_path)).text


def test_hostile_names_are_shown_not_obeyed(run_dir):
    hostile = "<script>alert(1)</script>\"'><img src=x onerror=alert(1)>${7*7}{{7*7}}$\\frac$\x00\u202e"
    part = made_up_part(3, name=hostile, kind=hostile)
    metrics = {hostile: part_metrics(part), "provenance": {hostile: hostile, "device": hostile}, "timing": {hostile: 1}}
    (run_dir / "metrics.json").write_text(json.dumps(metrics), encoding="utf-8")
    (run_dir / "config.yaml").write_text(f"model: {{_target_: {json.dumps(hostile)}}}\n", encoding="utf-8")
    (run_dir / "split.json").write_text(json.dumps({hostile: [hostile]}), encoding="utf-8")
    save_parity(run_dir / "predictions.npz", {"test": part})
    page = read(write_report(run_dir))
    assert "script" not in page.tags
    assert "<script>alert(1)</script>" in page.text and "{{7*7}}" in page.text
    assert all(address.startswith(("#", "data:image/")) for address in page.addresses)


def test_perfect_and_single_predictions_can_be_drawn(tmp_path):
    label = {"energy": -1.0, "forces": np.zeros((1, 3)), "stress": np.zeros((3, 3))}
    part = parity_data([label], [label], [np.array([14])])
    (tmp_path / "metrics.json").write_text(json.dumps({"test": part_metrics(part)}), encoding="utf-8")
    (tmp_path / "log.csv").write_text("epoch,train_loss,val_loss\n0,0.0,nan\n1,1.0,word\n", encoding="utf-8")
    save_parity(tmp_path / "predictions.npz", {"test": part, "val": parity_data([], [], [])})
    assert "Learning curves" in read(write_report(tmp_path)).text


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("metrics.json", None, r"has no metrics\.json: name a run directory"),
        ("metrics.json", "{", r"metrics\.json is not valid JSON"),
        ("metrics.json", "[]", r"metrics\.json holds a list"),
        ("config.yaml", "a: [", r"config\.yaml is not valid YAML"),
        ("config.yaml", "!!python/object/apply:os.system ['echo']", r"config\.yaml is not valid YAML"),
        ("predictions.npz", "text", r"predictions\.npz cannot be read"),
    ],
)
def test_broken_files_are_named(run_dir, name, content, message):
    (run_dir / name).unlink()
    if content is not None:
        (run_dir / name).write_text(content, encoding="utf-8")
    with pytest.raises(DataError, match=message):
        write_report(run_dir)


def test_many_points_stay_light(run_dir):
    rng = np.random.default_rng(0)
    forces = rng.normal(size=(2, 20_000, 3))
    numbers = np.tile([3, 3, 8, 32], 5_000)
    label = {"energy": 1.0, "forces": forces[0]}
    part = parity_data([label], [{"energy": 1.1, "forces": forces[0] + 0.1 * forces[1]}], [numbers])
    (run_dir / "metrics.json").write_text(json.dumps({"test": part_metrics(part)}), encoding="utf-8")
    save_parity(run_dir / "predictions.npz", {"test": part})
    path = write_report(run_dir)
    assert "60,000 points, thinned where they are dense" in read(path).text
    assert path.stat().st_size < 1.5e6

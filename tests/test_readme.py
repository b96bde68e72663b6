"""Every command and every line of Python in the README runs, in its order."""

import re
import shlex
from pathlib import Path

import pytest

import gnnpot
from gnnpot.cli import VERBS, main

README = Path(gnnpot.__file__).parents[1] / "README.md"
QUICK = {
    "fit": ["trainer.max_epochs=10", "trainer.max_time=null"],
    "finetune": ["trainer.max_epochs=2", "compare.scratch=false"],
    "md": ["steps=45", "trajectory_interval=1"],
    "phonon": ["relax=false", "cell=false", "supercell=1", "mesh=10", "points=3"],
    "analyze": ["blocks=2", "skip=0"],
    "relax": ["fmax=50"],
    "check": ["steps=2"],
    "benchmark": ["models=[schnet]", "sizes=[20]", "seeds=[0]", "trainer.max_epochs=2", "trainer.max_time=null"],
}
"""What makes a run of each verb short; nothing else of a command changes."""

pytestmark = [
    pytest.mark.skipif(not README.is_file(), reason="not a checkout"),
    pytest.mark.filterwarnings("ignore::gnnpot.errors.DataWarning"),
]


def blocks(language):
    return re.findall(rf"```{language}\n(.*?)```", README.read_text(encoding="utf-8"), re.DOTALL)


def commands():
    lines = "\n".join(blocks("bash")).splitlines() if README.is_file() else []
    return [shlex.split(line, comments=True)[1:] for line in lines if line.startswith("gnnpot ")]


@pytest.fixture(scope="module")
def workplace(tmp_path_factory):
    """A folder with what the README's reader has: the demo's run and a file of his own."""
    import gzip

    from gnnpot.data.bundled import bundled_path

    folder = tmp_path_factory.mktemp("readme")
    (folder / "mine.extxyz").write_bytes(gzip.decompress(bundled_path("MgO").read_bytes()))
    context = pytest.MonkeyPatch()
    context.chdir(folder)
    for name, data in (("demo", "Li2O"), ("demo-mgo", "MgO")):
        assert main(["fit", f"data.path={data}", f"run_dir=runs/{name}", *QUICK["fit"]]) == 0
    yield folder
    context.undo()


def test_commands(workplace):
    assert len(commands()) >= 8
    for verb, *words in commands():
        assert main([verb, *words, *QUICK.get(verb, [])]) in ({0, 1} if verb == "check" else {0}), (verb, words)
    assert (workplace / "relaxed.extxyz").is_file()
    assert (workplace / "predicted.extxyz").is_file()


def test_python(workplace, capsys):
    for name, head in (("response", "polarization"), ("tensor", "born_tensor")):
        if not (workplace / "runs" / name).is_dir():
            words = [f"head={head}", "checkpoint=runs/demo", f"run_dir=runs/{name}", *QUICK["fit"]]
            assert main(["fit", *words]) == 0
    for block in blocks("python"):
        exec(block, {})  # noqa: S102
    printed = capsys.readouterr().out
    assert "eV/Å³" in printed
    assert float(re.search(r"(\S+) e; suspect atoms: \[", printed)[1]) > 0.0


def test_every_verb_named_in_the_readme_exists():
    assert {verb for verb, *_ in commands()} <= set(VERBS)


def test_files_named_in_the_readme_exist():
    for name in ("benchmarks/README.md", "constraints.txt", "gnnpot/data/bundled/Li2O.md"):
        assert name in README.read_text(encoding="utf-8")
        assert (README.parent / name).is_file()

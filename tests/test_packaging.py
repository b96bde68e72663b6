"""The wheel carries everything a user needs, and works in a fresh environment outside of the checkout."""

import os
import shutil
import subprocess
import sys
import sysconfig
import zipfile
from pathlib import Path

import pytest

import gnnpot
from gnnpot.models.schnet import SchNet
from gnnpot.models.store import pretrained_names, save

ROOT = Path(gnnpot.__file__).parents[1]

pytestmark = pytest.mark.skipif(not (ROOT / "pyproject.toml").is_file(), reason="not a checkout: nothing to build from")


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    pytest.importorskip("build", reason="needs the package `build` (pip install gnnpot[dev])")
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(folder), str(ROOT)]
    subprocess.run(command, check=True, capture_output=True)
    (file,) = folder.glob("*.whl")
    return file


def test_contents(wheel):
    names = set(zipfile.ZipFile(wheel).namelist())
    for path in (ROOT / "configs").rglob("*.yaml"):
        assert f"gnnpot/{path.relative_to(ROOT)}" in names
    for path in (ROOT / "pretrained").rglob("*"):
        assert path.is_dir() or f"gnnpot/{path.relative_to(ROOT)}" in names
    assert "gnnpot/pretrained/README.md" in names
    assert "gnnpot/py.typed" in names
    assert "gnnpot/data/bundled/Li2O.xyz.gz" in names
    assert "gnnpot/data/bundled/Li2O.md" in names
    assert not [name for name in names if name.startswith(("tests/", "benchmarks/"))]
    assert wheel.stat().st_size < 20_000_000


@pytest.fixture(scope="module")
def environment(wheel, tmp_path_factory):
    """A virtual environment with the wheel, which sees the libraries of this one but not the checkout."""
    folder = tmp_path_factory.mktemp("environment")
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(folder)], check=True, capture_output=True)
    python = folder / "bin" / "python"
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    site = folder / "lib" / version / "site-packages"
    (site / "libraries.pth").write_text(sysconfig.get_paths()["purelib"] + "\n")
    command = [sys.executable, "-m", "pip", "--python", str(python), "install", "--no-deps", "--no-index", str(wheel)]
    subprocess.run([*command, "--force-reinstall"], check=True, capture_output=True)
    return python


def clean_environment():
    """Without a PYTHONPATH that could lead to the checkout."""
    return {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}


def run(python, *words, cwd):
    command = [str(python), "-m", "gnnpot", *words]
    return subprocess.run(command, check=False, capture_output=True, text=True, cwd=cwd, env=clean_environment())


def test_the_installed_wheel_is_not_the_checkout(environment, tmp_path):
    code = "import gnnpot; print(gnnpot.__file__)"
    command = [environment, "-c", code]
    found = subprocess.run(command, check=True, capture_output=True, text=True, cwd=tmp_path, env=clean_environment())
    assert not found.stdout.startswith(str(ROOT))


def test_fit_and_info_through_the_wheel(environment, tmp_path):
    words = ["trainer.max_epochs=1", "trainer.max_time=null", "model.n_features=8", "model.n_interactions=1"]
    fitted = run(environment, "fit", "run_dir=run", *words, cwd=tmp_path)
    assert fitted.returncode == 0, fitted.stderr
    for name in ("metrics.json", "report.html", "model/model.yaml", "model/model.safetensors"):
        assert (tmp_path / "run" / name).is_file()
    described = run(environment, "info", "run", cwd=tmp_path)
    assert described.returncode == 0, described.stderr
    assert "Li" in described.stdout
    assert run(environment, "info", "pretrained", cwd=tmp_path).returncode == 0


OFFLINE = """
import socket
class Refusing(socket.socket):
    def connect(self, address): raise AssertionError(f"asked for the network: {address}")
socket.socket = Refusing
import gnnpot
from gnnpot.models.store import pretrained_names
for name in pretrained_names():
    print(name, gnnpot.load(name).card["elements"])
"""


def test_shipped_models_load_by_name_without_a_network(environment, tmp_path):
    """With a model of our own beside those of the wheel, as long as there is none."""
    (installed,) = environment.parents[1].glob("lib/*/site-packages/gnnpot/pretrained")
    save(SchNet(["Li", "O"], cutoff=4.0, n_features=8, n_radial=6, n_interactions=1), installed / "tiny")
    command = [environment, "-c", OFFLINE]
    found = subprocess.run(command, check=False, capture_output=True, text=True, cwd=tmp_path, env=clean_environment())
    shutil.rmtree(installed / "tiny")
    assert found.returncode == 0, found.stderr
    assert [line.split()[0] for line in found.stdout.splitlines()] == sorted([*pretrained_names(), "tiny"])


def test_configs_are_found_from_the_checkout_too():
    from gnnpot.config import config_dir, pretrained_dir

    assert config_dir() == ROOT / "configs"
    assert pretrained_dir() == ROOT / "pretrained"

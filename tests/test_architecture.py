"""The house as code: which floor may import which, how large a room may be, what an import may do."""

import ast
import subprocess
import sys
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

import gnnpot

PACKAGE = Path(gnnpot.__file__).parent
FLOORS = {
    "errors": 0,
    "_version": 0,
    "keys": 0,
    "kinds": 0,
    "compiled": 0,
    "kernels": 0,
    "memory": 0,
    "config": 0,
    "data": 1,
    "nn": 2,
    "report": 2,
    "models": 3,
    "training": 4,
    "apps": 5,
    "cli": 6,
    "__init__": 6,
    "__main__": 7,
}
WITHIN_A_FLOOR = {
    ("config", "errors"),
    ("keys", "errors"),
    ("kinds", "errors"),
    ("config", "kinds"),
    ("kernels", "errors"),
}
ONLY_IN = {
    "lightning": ("training/",),
    "hydra": ("config.py",),
    "omegaconf": ("config.py",),
    "torch_geometric": ("data/graph.py",),
    "e3nn": ("models/",),
    "jinja2": ("report/",),
    "matplotlib": ("report/",),
    "numba": ("compiled.py", "nn/"),
    "phonopy": ("data/readers/phonopy_born.py", "apps/"),
    "pymatgen": ("data/readers/", "data/oxidation.py"),
    "safetensors": ("models/store.py",),
}
APPS_WITH_TRAINING = {"benchmark"}
MODULES = sorted(PACKAGE.rglob("*.py"))


def name_of(path):
    return str(path.relative_to(PACKAGE))


def floor_of(path):
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def type_checking_lines(tree):
    lines = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.If) and getattr(node.test, "id", "") == "TYPE_CHECKING":
            lines.update(range(node.lineno, (node.end_lineno or node.lineno) + 1))
    return lines


def imports(path):
    tree = ast.parse(path.read_text(encoding="utf-8"))
    skipped = type_checking_lines(tree)
    for node in ast.walk(tree):
        if isinstance(node, ast.Import | ast.ImportFrom) and node.lineno not in skipped:
            names = [a.name for a in node.names] if isinstance(node, ast.Import) else [node.module or ""]
            yield from names


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_imports_go_downward(path):
    here = floor_of(path)
    for name in imports(path):
        if not name.startswith("gnnpot."):
            continue
        there = name.split(".")[1]
        downward = FLOORS[there] < FLOORS[here] or there == here or (here, there) in WITHIN_A_FLOOR
        assert downward, f"{name_of(path)} imports {name}: up or sideways"
        if here == "apps" and there == "training":
            assert path.stem in APPS_WITH_TRAINING, f"{name_of(path)} pulls training into inference"


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_libraries_stay_in_their_rooms(path):
    for name in imports(path):
        allowed = ONLY_IN.get(name.split(".")[0])
        if allowed:
            assert name_of(path).startswith(allowed), f"{name_of(path)} imports {name}, allowed only in {allowed}"


def modules_imported(path):
    """Names of modules of the package, those imported inside functions included."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    skipped = type_checking_lines(tree)
    for node in ast.walk(tree):
        if getattr(node, "lineno", 0) in skipped:
            continue
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        if isinstance(node, ast.ImportFrom):
            names = [f"{node.module}.{alias.name}" for alias in node.names]
            yield from (name if name in NAMES.values() else node.module or "" for name in names)


NAMES = {path: ".".join(["gnnpot", *path.relative_to(PACKAGE).with_suffix("").parts]) for path in MODULES}
NAMES = {path: name.removesuffix(".__init__") for path, name in NAMES.items()}


def test_no_circles_between_modules():
    """Neither at the top of modules nor inside functions."""
    graph = {NAMES[path]: {name for name in modules_imported(path) if name.startswith("gnnpot")} for path in MODULES}
    assert "gnnpot.nn.gated_sum_kernels" in graph["gnnpot.nn.gated_sum"]
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as circle:
        pytest.fail(" imports ".join(reversed(circle.args[1])))


def test_models_do_not_import_each_other():
    from gnnpot.config import config_dir

    models = {path.stem for path in (config_dir() / "model").glob("*.yaml")}
    for model in models:
        path = PACKAGE / "models" / f"{model}.py"
        assert path.is_file(), f"configs/model/{model}.yaml has no gnnpot/models/{model}.py"
        for name in imports(path):
            other = name.removeprefix("gnnpot.models.")
            assert other not in models - {model}, f"{model} imports {other}"


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_rooms_are_small(path):
    text = path.read_text(encoding="utf-8")
    assert text.count("\n") <= 420, f"{name_of(path)} has {text.count(chr(10))} lines"
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            length = (node.end_lineno or node.lineno) - node.lineno + 1
            assert length <= 80, f"{name_of(path)}:{node.lineno} {node.name} has {length} lines"


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_nothing_unsafe(path):
    """No pickle, no eval, no unsafe YAML, no utils, no assert, which ``python -O`` would drop."""
    text = path.read_text(encoding="utf-8")
    tree = ast.parse(text)
    assert path.stem != "utils"
    for node in ast.walk(tree):
        assert not isinstance(node, ast.Assert), f"{name_of(path)}:{node.lineno} asserts: raise an error with a message"
        if isinstance(node, ast.Call):
            called = ast.unparse(node.func)
            assert called not in {"eval", "exec", "yaml.load", "pickle.load", "pickle.loads", "hydra.utils.instantiate"}
            if called == "torch.load":
                assert any(k.arg == "weights_only" and ast.unparse(k.value) == "True" for k in node.keywords)
            if called.endswith("np.load"):
                assert not any(k.arg == "allow_pickle" and ast.unparse(k.value) == "True" for k in node.keywords)
        if isinstance(node, ast.Call) and ast.unparse(node.func).endswith("load_state_dict"):
            assert not any(k.arg == "strict" and ast.unparse(k.value) == "False" for k in node.keywords)


def loaded_after(statement):
    code = f"import sys\n{statement}\nprint(' '.join(sorted(sys.modules)))"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return set(found.stdout.splitlines()[-1].split())


def test_import_is_light():
    loaded = loaded_after("import gnnpot")
    assert not loaded & {"torch", "ase", "hydra", "numpy", "lightning", "pymatgen"}


@pytest.mark.parametrize("words", [["--help"], ["fit", "--help"]])
def test_help_is_light(words):
    loaded = loaded_after(f"from gnnpot.cli import main\nmain({words!r})")
    assert not loaded & {"torch", "lightning", "pymatgen", "ase"}


def test_inference_needs_no_lightning():
    assert "lightning" not in loaded_after("from gnnpot import Calculator, load, md, relax, predict")


def test_public_names_are_there():
    for name in gnnpot.__all__:
        assert getattr(gnnpot, name) is not None
    with pytest.raises(AttributeError, match="Calculater"):
        gnnpot.Calculater  # noqa: B018

"""How the error of an HDNNP falls with the number of its functions, and how that number grows with the elements.

    python benchmarks/descriptors.py growth
    python benchmarks/descriptors.py run DATA OUTPUT [KEY=VALUE ...]
    python benchmarks/descriptors.py table OUTPUT [--plot FILE]

``run`` trains one model for each kind of functions and each number of them per element (chosen by CUR; "all" is what is
generated), with the same data, split and budget: ``trainer.max_epochs=60`` unless another one is given. A finished
training is not run again. ``table`` prints, as Markdown, validation errors of what has finished, and draws them.
"""

import argparse
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import yaml

from gnnpot.nn.descriptor_generation import DESCRIPTORS, count_generated

SIZES = (16, 32, 64, 128, None)
ENERGY, FORCES = "energy_mae_mev_per_atom", "forces_mae_mev_per_ang"


def growth(n_radial: int, n_angular: int) -> str:
    """Functions of each element, generated for 1 to 5 elements."""
    lines = ["| functions of each element | 1 | 2 | 3 | 4 | 5 elements |", "|---|---|---|---|---|---|"]
    for kind in DESCRIPTORS:
        counts = [count_generated(n, n_radial, n_angular, kind) for n in range(1, 6)]
        cells = [f"{sum(count.values())} ({', '.join(f'{n} {k}' for k, n in count.items())})" for count in counts]
        lines.append(f"| {kind} | {' | '.join(cells)} |")
    return "\n".join(lines)


def overrides(kind: str, size: int | None) -> list[str]:
    """What tells one model from another."""
    return [f"model.descriptors={kind}", f"model.n_functions={'null' if size is None else size}"]


def run(data: str, output: Path, more: list[str]) -> None:
    """Train what is not there yet."""
    budget = [] if any(word.startswith("trainer.max_") for word in more) else ["trainer.max_epochs=60"]
    for kind in DESCRIPTORS:
        for size in SIZES:
            folder = output / f"{kind}-{size or 'all'}"
            if (folder / "metrics.json").is_file():
                continue
            command = ["gnnpot", "fit", "model=hdnnp", f"data.path={data}", f"run_dir={folder}"]
            go_on = [f"resume={folder}"] if (folder / "last.ckpt").is_file() else []
            subprocess.run([sys.executable, "-m", *command, *overrides(kind, size), *budget, *more, *go_on], check=True)


def results(output: Path) -> list[dict[str, Any]]:
    """Kind, largest number of functions of an element, errors and processor seconds of every finished training."""
    found = []
    for file in sorted(output.glob("*/metrics.json")):
        metrics = json.loads(file.read_text(encoding="utf-8"))
        model = yaml.safe_load(next(file.parent.rglob("model.yaml")).read_text(encoding="utf-8"))["model"]
        centers = [line.split()[1] for line in model["functions"]]
        found.append(
            {
                "kind": model["descriptors"],
                "all": model.get("n_functions") is None,
                "n_functions": max(centers.count(center) for center in set(centers)),
                "energy": metrics["val"][ENERGY],
                "forces": metrics["val"][FORCES],
                "seconds": metrics["timing"].get("training_cpu_s", float("nan")),
            }
        )
    return sorted(found, key=lambda row: (DESCRIPTORS.index(row["kind"]), row["n_functions"]))


def table(rows: list[dict[str, Any]]) -> str:
    """Markdown."""
    lines = ["| functions | of each element | E (meV/atom) | F (meV/Å) | processor time (s) |", "|---|---|---|---|---|"]
    for row in rows:
        number = f"{row['n_functions']}{' (all)' if row['all'] else ''}"
        lines.append(f"| {row['kind']} | {number} | {row['energy']:.2f} | {row['forces']:.1f} | {row['seconds']:.0f} |")
    return "\n".join(lines)


def plot(rows: list[dict[str, Any]], path: Path) -> None:
    """Force errors against the number of functions, a line for each kind."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    figure, axes = plt.subplots(figsize=(5.0, 3.5), layout="constrained")
    for kind in DESCRIPTORS:
        own = [row for row in rows if row["kind"] == kind]
        axes.plot([row["n_functions"] for row in own], [row["forces"] for row in own], "o-", label=kind)
    axes.set(xscale="log", yscale="log", xlabel="functions of each element", ylabel="force error (meV/Å)")
    axes.legend()
    figure.savefig(path)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    verbs = parser.add_subparsers(dest="verb", required=True)
    verb = verbs.add_parser("growth")
    verb.add_argument("--n-radial", type=int, default=12)
    verb.add_argument("--n-angular", type=int, default=6)
    verb = verbs.add_parser("run")
    verb.add_argument("data")
    verb.add_argument("output", type=Path)
    verb.add_argument("more", nargs="*")
    verb = verbs.add_parser("table")
    verb.add_argument("output", type=Path)
    verb.add_argument("--plot", type=Path)
    given = parser.parse_args()
    if given.verb == "growth":
        print(growth(given.n_radial, given.n_angular))
    elif given.verb == "run":
        run(given.data, given.output, given.more)
    else:
        finished = results(given.output)
        print(table(finished))
        if given.plot is not None:
            plot(finished, given.plot)

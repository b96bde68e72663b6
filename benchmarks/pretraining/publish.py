"""Make a shipped checkpoint out of a pretraining: `python benchmarks/pretraining/publish.py FOLDER NAME`.

FOLDER is that of pretrain.sh: its frames, and its runs NAME, NAME-teacher, those of further rounds, and (where it was
trained) NAME-alone. Writes
`pretrained/NAME`: model.yaml with all figures of the card, model.safetensors, README.md made of model.yaml, frames to
replay and held-out frames to see what a fine-tuning forgets. With --alone it is the run without a teacher, for where
that was the better one. More than 5 MB are refused; a larger model is published with --url, the address at which its
weights will lie: then they are written beside the folder, to be put there.
"""

import argparse
import shutil
from collections import Counter, defaultdict
from pathlib import Path
from typing import Any

import ase
import ase.io
import numpy as np
import yaml

from gnnpot import load, predict, save
from gnnpot.data.compositions import reduced_formula
from gnnpot.data.labels import labels_of
from gnnpot.data.writers import write_extxyz
from gnnpot.models.store import LARGEST_SHIPPED, WEIGHTS, read_card
from gnnpot.report.model_card import card_markdown, element_group_errors, source_errors
from gnnpot.report.parity import load_parity, parity_data
from gnnpot.training.schedule import seconds_of

PARTS = ("train", "val", "test")
TEACHER_FILE = "teacher_"
"""Beginning of the names of files with the teacher's labels; the kind of their crystals follows."""

FEW = 20
"""Training structures with an element below which the card names it."""

LICENCE = (
    "The weights are under the licence of gnnpot (MIT). The frames that they were trained on, some of which lie in "
    "this folder, come from MPtrj (B. Deng et al., Nat. Mach. Intell. 5, 1031 (2023)) and Alexandria (J. Schmidt et "
    "al., Adv. Mater. 35, 2210788 (2023)), both CC-BY-4.0, and from the benchmarks of MatterSim (MIT)."
)
SPLIT_BY = (
    "Split by reduced formula over all sources: all frames of a formula fall on one side, the side being a hash of the "
    "formula. Frames with a force above 20 eV/Å or a stress above 100 GPa are left out."
)
FUNCTIONAL = "None of the files says whether a frame is GGA or GGA+U: the functional is recorded as unknown."


def frames_of(folder: Path, name: str) -> list[ase.Atoms]:
    """Frames of a file of the pretraining."""
    return list(ase.io.iread(folder / f"{name}.xyz", ":"))


def counts_of(frames: dict[str, list[ase.Atoms]]) -> dict[str, dict[str, dict[str, int]]]:
    """Frames, atoms and materials (reduced formulas) by source and part."""
    found: dict[str, dict[str, dict[str, int]]] = defaultdict(dict)
    for part, all_frames in frames.items():
        for source in sorted({atoms.info["config_type"] for atoms in all_frames}):
            chosen = [atoms for atoms in all_frames if atoms.info["config_type"] == source]
            found[source][part] = {
                "frames": len(chosen),
                "atoms": sum(map(len, chosen)),
                "materials": len({reduced_formula(atoms.numbers) for atoms in chosen}),
            }
    return dict(found)


def rounds_of(folder: Path, run: str) -> list[Path]:
    """Runs on the teacher's labels that a run went on from, in order; none where there was no teacher."""
    found = [folder / "runs" / f"{run}-teacher"]
    while found[-1].is_dir():
        found.append(folder / "runs" / f"{run}-teacher-{len(found) + 1}")
    return found[:-1]


def labelled_files(folder: Path, run: Path) -> list[Path]:
    """Files with the teacher's labels that a run was trained on."""
    data = configuration(run)["data"]
    names = data["train_path"] or data["path"]
    return [folder / name for name in names if name.startswith(TEACHER_FILE)]


def teacher_of(folder: Path, rounds: list[Path]) -> dict[str, Any] | None:
    """Who made the labels of the first stage of a run; None where there was none."""
    if not rounds:
        return None
    frames = [atoms for file in labelled_files(folder, rounds[-1]) for atoms in ase.io.iread(file, ":")]
    info = frames[0].info
    return {
        "calculator": str(info.get("label_calculator", "CHGNet 0.3.0")),
        "version": str(info.get("label_version", "unknown")),
        "licence": str(info.get("label_licence", "BSD-3-Clause")),
        "frames": len(frames),
        "rounds": [{"minutes": minutes_of(run), "structures": n_structures(run)} for run in rounds],
    }


def n_structures(run: Path) -> int:
    """Structures that a run was trained on, those with real forces among them."""
    return int(read_card(run / "model")["trained_on"]["split"]["train"])


def held_out(folder: Path, run: str) -> dict[str, Any]:
    """Errors on held-out materials: by source, by group of elements, of the highest stresses, without the teacher."""
    part = load_parity(folder / "runs" / run / "predictions.npz")["test"]
    found: dict[str, Any] = {
        "per_source": source_errors(part) | extreme_errors(folder, run),
        "per_element_group": element_group_errors(part),
    }
    alone = folder / "runs" / f"{run}-alone" / "predictions.npz"
    if alone.is_file():
        found["without_teacher"] = {
            "minutes_with": sum(map(minutes_of, [*rounds_of(folder, run), folder / "runs" / run])),
            "minutes": minutes_of(alone.parent),
            "per_source": source_errors(load_parity(alone)["test"]),
        }
    return found


def extreme_errors(folder: Path, run: str) -> dict[str, dict[str, float | int]]:
    """Errors on the frames of highest stress, which do not count among all."""
    frames = frames_of(folder, "mp_stress")
    found = predict(load(folder / "runs" / run), frames, ["energy", "forces", "stress"])
    kinds = [atoms.info["config_type"] for atoms in frames]
    part = parity_data([labels_of(a) for a in frames], found, [a.numbers for a in frames], kinds)
    return {source: errors for source, errors in source_errors(part).items() if source != "all"}


def uses(frames: list[ase.Atoms]) -> dict[str, list[str]]:
    """What the model is good for and what not."""
    seen = Counter(symbol for atoms in frames for symbol in set(atoms.symbols))
    rare = sorted(symbol for symbol, n in seen.items() if n < FEW)
    return {
        "good_for": [
            "a start of fine-tuning on crystals of these elements, where few labeled structures are at hand",
        ],
        "not_for": [
            "results without fine-tuning where errors as in the tables below matter",
            "energies of different compositions against each other: labels of GGA and GGA+U stand side by side, "
            "without the corrections of Materials Project",
            "surfaces, molecules, charged defects, magnetic order: no real frame is of that kind",
            "forces above 20 eV/Å and stresses above 100 GPa, which were left out",
            f"elements that fewer than {FEW} training structures hold: {', '.join(rare) or 'there is none'}",
        ],
    }


def command_of(folder: Path, name: str, run: str, overrides: str) -> str:
    """The command that trains the model again, with the lengths of its stages."""
    words = ["GNNPOT_DATA=/path/to/data"]
    rounds = rounds_of(folder, run)
    if rounds:
        files = sorted(labelled_files(folder, rounds[-1]))
        crystals = [f"{file.stem.removeprefix(TEACHER_FILE)}={n_crystals(file)}" for file in files]
        words += ["TEACHER_PYTHON=/path/to/python/with/chgnet", f'TEACHER_CRYSTALS="{" ".join(crystals)}"']
        words.append(f'TEACHER_MINUTES="{" ".join(str(minutes_of(of_round)) for of_round in rounds)}"')
    else:
        words += ["TEACHER=none", "TEACHER_MINUTES=0"]
    words.append(f"MINUTES={minutes_of(folder / 'runs' / run)}")
    return " ".join([*words, "benchmarks/pretraining/pretrain.sh", name, "/path/to/a/folder", overrides]).strip()


def n_crystals(file: Path) -> int:
    """Crystals that the teacher was asked for to write these frames."""
    return 1 + int(ase.io.read(file, -1).info["variant"])


def configuration(run: Path) -> dict[str, Any]:
    """What a run was asked for."""
    found: dict[str, Any] = yaml.safe_load((run / "config.yaml").read_text(encoding="utf-8"))
    return found


def minutes_of(run: Path) -> int:
    """Minutes of a training by its configuration."""
    return round(seconds_of(configuration(run)["trainer"]["max_time"]) / 60)


def published_card(folder: Path, name: str, run: str, card: dict[str, Any], overrides: str) -> dict[str, Any]:
    """What ``model.yaml`` says besides the model itself; without paths of the machine that trained it."""
    frames = {part: frames_of(folder, f"mp_{part}") for part in PARTS}
    kept = {key: card[key] for key in ("level_of_theory", "trained_on", "metrics", "loss", "timing", "provenance")}
    kept["trained_on"] = {**kept["trained_on"], "name": "mp_train.xyz of benchmarks/pretraining/data.py"}
    facts = {
        "name": name,
        **uses(frames["train"]),
        "held_out": held_out(folder, run),
        "split_by": SPLIT_BY,
        "data": counts_of(frames),
        "functional": FUNCTIONAL,
        "teacher": teacher_of(folder, rounds_of(folder, run)),
        "reproduce": command_of(folder, name, run, overrides),
        "licence": LICENCE,
    }
    return kept | {key: value for key, value in facts.items() if value is not None}


def write_frames(folder: Path, target: Path, n_replayed: int) -> None:
    """Training frames to replay, drawn at random, and all held-out ones."""
    train = frames_of(folder, "mp_train")
    drawn = np.sort(np.random.default_rng(0).permutation(len(train))[:n_replayed])
    write_extxyz(target / "replay.extxyz.gz", [train[k] for k in drawn])
    write_extxyz(target / "held_out.extxyz.gz", frames_of(folder, "mp_test"))


def publish(
    folder: Path,
    name: str,
    output: Path,
    n_replayed: int = 800,
    url: str | None = None,
    overrides: str = "",
    alone: bool = False,
) -> Path:
    """Write the checkpoint; returns its folder."""
    run = f"{name}-alone" if alone else name
    if not (folder / "runs" / run / "predictions.npz").is_file():
        raise SystemExit(f"{folder / 'runs' / run}: the training is not at its end; let pretrain.sh finish it first")
    potential = load(folder / "runs" / run)
    card = published_card(folder, name, run, potential.card, overrides)
    target = save(potential, output / name, card)
    if url is not None:
        card |= {"weights_url": url, "weights_bytes": (target / WEIGHTS).stat().st_size}
        target = save(potential, target, card)
        shutil.move(target / WEIGHTS, output / f"{name}.safetensors")
    (target / "README.md").write_text(card_markdown(read_card(target)), encoding="utf-8")
    write_frames(folder, target, n_replayed)
    size = sum(file.stat().st_size for file in target.iterdir())
    if size > LARGEST_SHIPPED:
        shutil.rmtree(target)
        raise SystemExit(f"{name} takes {size / 1e6:.1f} MB, more than 5: fewer frames (--replay), or --url=ADDRESS")
    print(f"{target}: {size / 1e6:.2f} MB")
    return target


def main() -> None:
    """Publish what was asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("name")
    parser.add_argument("--output", type=Path, default=Path(__file__).resolve().parents[2] / "pretrained")
    parser.add_argument("--replay", type=int, default=800, help="training frames that come with it")
    parser.add_argument("--url", help="where the weights will lie, for a model too large to ship")
    parser.add_argument("--overrides", default="", help="what else was given to pretrain.sh, for the card")
    parser.add_argument("--alone", action="store_true", help="the run without a teacher, NAME-alone")
    asked = parser.parse_args()
    publish(asked.folder, asked.name, asked.output, asked.replay, asked.url, asked.overrides, asked.alone)


if __name__ == "__main__":
    main()

"""The card of a pretrained model: what it learned from, how it errs on materials that it has not seen, its uses.

The figures stand in ``model.yaml``; the text for people (`card_markdown`) is made of them alone.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from gnnpot.keys import PROPERTIES, metric_name
from gnnpot.report.formatting import part_title, significant
from gnnpot.report.metrics import in_order, part_metrics
from gnnpot.report.page import Column, Table
from gnnpot.report.parity import ParityData

JUDGED = ("energy", "forces", "stress")
MEAN_FORCE = "mean_force_mev_per_ang"

ELEMENT_GROUPS: dict[str, tuple[int, ...]] = {
    "H": (1,),
    "alkali metals": (3, 11, 19, 37, 55, 87),
    "alkaline earth metals": (4, 12, 20, 38, 56, 88),
    "3d metals": tuple(range(21, 31)),
    "4d metals": tuple(range(39, 49)),
    "5d metals": tuple(range(72, 81)),
    "lanthanides": tuple(range(57, 72)),
    "actinides": tuple(range(89, 104)),
    "other metals": (13, 31, 49, 50, 81, 82, 83, 84),
    "metalloids": (5, 14, 32, 33, 51, 52),
    "C, N, P": (6, 7, 15),
    "O": (8,),
    "S, Se": (16, 34),
    "halogens": (9, 17, 35, 53, 85),
    "noble gases": (2, 10, 18, 36, 54, 86),
}
"""Atomic numbers of the groups for which errors are told."""


def element_group_errors(part: ParityData) -> dict[str, dict[str, float | int]]:
    """Errors by group of elements: forces on its atoms, energies and stress of the structures that hold one of them.

    Groups without an atom are left out; ``n_atoms`` counts atoms of the group, ``n_structures`` such structures.
    """
    found: dict[str, dict[str, float | int]] = {}
    for name, numbers in ELEMENT_GROUPS.items():
        atoms = np.isin(part.numbers, numbers)
        if not atoms.any():
            continue
        held = np.bincount(part.structure_of_atom[atoms], minlength=len(part.n_atoms)) > 0
        of_structures = part_metrics(part.of_structures(held))
        group = {key: of_structures[key] for key in _mae_names(of_structures) if key != metric_name("forces", "mae")}
        if "forces" in part.properties:
            errors = np.abs(part.errors("forces")[atoms])
            group[metric_name("forces", "mae")] = float(np.nanmean(errors) * PROPERTIES["forces"].report_factor)
        found[name] = {**group, "n_structures": int(held.sum()), "n_atoms": int(atoms.sum())}
    return found


def source_errors(part: ParityData) -> dict[str, dict[str, float | int]]:
    """Errors by source (``config_type``) and of all, each beside the mean size of a component of the forces, meV/Å.

    That is the force MAE of a model that predicts none.
    """
    sources = {name: part.of_structures(part.config_types == name) for name in np.unique(part.config_types).tolist()}
    found: dict[str, dict[str, float | int]] = {}
    for name, chosen in {**sources, "all": part}.items():
        errors = part_metrics(chosen)
        row = {key: errors[key] for key in _mae_names(errors)}
        if "forces" in chosen.properties:
            sizes = np.abs(chosen.labels["forces"].astype(np.float64))
            row[MEAN_FORCE] = float(np.nanmean(sizes) * PROPERTIES["forces"].report_factor)
        found[name or "not named"] = {**row, "n_structures": len(chosen.n_atoms), "n_atoms": len(chosen.numbers)}
    return found


def card_markdown(card: Mapping[str, Any]) -> str:
    """The card of a pretrained model for people, of what its ``model.yaml`` says.

    >>> print(card_markdown({"name": "tiny", "elements": ["Li"], "good_for": ["tests"]}).splitlines()[0])
    # tiny
    """
    sections = (
        (f"# {card.get('name', 'A pretrained model')}", _summary(card)),
        ("## Good for", _listed(card.get("good_for"))),
        ("## Not for", _listed(card.get("not_for"))),
        ("## Errors on held-out materials", _errors(card)),
        ("## Data", _data(card)),
        ("## Teacher", _teacher(card)),
        ("## How to make it again", _fenced(card.get("reproduce"))),
        ("## Licence", card.get("licence")),
    )
    return "\n\n".join(part for title, text in sections if text for part in (title, text)) + "\n"


def held_out_table(rows: Mapping[str, Mapping[str, Any]], title: str) -> Table:
    """MAE of energy, forces and stress for sources or groups of elements.

    >>> held_out_table({"O": {"forces_mae_mev_per_ang": 80.0, "n_structures": 2, "n_atoms": 9}}, "element").rows
    (('O', '2', '9', '80.0'),)
    """
    judged = [name for name in JUDGED if any(metric_name(name, "mae") in row for row in rows.values())]
    has_force = any(MEAN_FORCE in row for row in rows.values())
    columns = [Column(title, is_number=False), Column("structures"), Column("atoms")]
    columns += [Column(f"{PROPERTIES[n].title} MAE ({PROPERTIES[n].report_unit})") for n in judged]
    columns += [Column("mean |force component| (meV/Å)")] if has_force else []
    keys = [*(metric_name(name, "mae") for name in judged), *([MEAN_FORCE] if has_force else [])]
    return Table(
        tuple(columns),
        tuple(
            (name, f"{row['n_structures']:,}", f"{row['n_atoms']:,}", *(significant(row.get(key)) for key in keys))
            for name, row in rows.items()
        ),
    )


def _mae_names(errors: Mapping[str, Any]) -> list[str]:
    return [metric_name(name, "mae") for name in JUDGED if metric_name(name, "mae") in errors]


def _summary(card: Mapping[str, Any]) -> str:
    model = dict(card.get("model") or {})
    kind = str(model.pop("_target_", "")).rpartition(".")[2]
    n_parameters = (card.get("provenance") or {}).get("n_parameters")
    facts = [kind, f"{n_parameters:,} parameters" if n_parameters else "", f"{len(card.get('elements', []))} elements"]
    if "cutoff" in model:
        facts.append(f"cutoff {model['cutoff']:g} Å")
    lines = [", ".join(fact for fact in facts if fact) + ".", f"Elements: {', '.join(card.get('elements', []))}."]
    if card.get("level_of_theory"):
        lines.append(f"Level of theory: {card['level_of_theory']}.")
    if card.get("name"):
        lines.append(f'`gnnpot.load("{card["name"]}")`, or `checkpoint={card["name"]}` on the command line.')
    return "\n\n".join(lines)


def _errors(card: Mapping[str, Any]) -> str:
    held_out = card.get("held_out") or {}
    parts = []
    if held_out.get("per_source"):
        parts.append(held_out_table(held_out["per_source"], "source").markdown())
    if held_out.get("per_element_group"):
        parts += [
            "Forces on atoms of the group; energy and stress of the structures that hold one of them:",
            held_out_table(held_out["per_element_group"], "elements").markdown(),
        ]
    return "\n\n".join(parts)


def _data(card: Mapping[str, Any]) -> str:
    counts: Mapping[str, Mapping[str, Mapping[str, int]]] = card.get("data") or {}
    parts = in_order({part for source in counts.values() for part in source})
    columns = (
        Column("source", is_number=False),
        *(Column(title, part_title(part)) for part in parts for title in ("frames", "atoms", "materials")),
    )
    rows = tuple(
        (
            name,
            *(f"{s.get(part, {}).get(key, 0):,}" for part in parts for key in ("frames", "atoms", "materials")),
        )
        for name, s in counts.items()
    )
    table = Table(columns, rows).markdown() if rows else ""
    return "\n\n".join(text for text in (card.get("split_by"), table, card.get("functional")) if text)


def _teacher(card: Mapping[str, Any]) -> str:
    """Who made labels for the training, and what they brought on real held-out frames."""
    teacher = card.get("teacher")
    if not teacher:
        return ""
    text = (
        f"Before the labels above the model learned {teacher['frames']:,} frames labeled by {teacher['calculator']} "
        f"(version {teacher['version']} of its package, licence {teacher['licence']}). The teacher's weights are not "
        "part of this model."
    )
    without = (card.get("held_out") or {}).get("without_teacher")
    if not without:
        return text
    of_source = card["held_out"]["per_source"]
    rows = {
        f"{source}, {words}": errors[source]
        for source in without["per_source"]
        for words, errors in (("with the teacher", of_source), ("without", without["per_source"]))
    }
    title = f"{without['minutes_with']} minutes with, {without['minutes']} without"
    return f"{text}\n\n{held_out_table(rows, title).markdown()}"


def _listed(items: Sequence[str] | None) -> str:
    return "\n".join(f"- {item}" for item in items or ())


def _fenced(command: str | None) -> str:
    return f"```bash\n{command}\n```" if command else ""

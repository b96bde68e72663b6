"""What a report says of a fine-tuning, from the section ``finetuning`` of ``metrics.json``."""

from collections.abc import Mapping
from typing import Any

from gnnpot.keys import PROPERTIES, metric_name
from gnnpot.report.facts import facts_table
from gnnpot.report.formatting import MISSING, part_title, significant
from gnnpot.report.page import Block, Card, Cards, Column, Gallery, Section, Table, Text

Account = Mapping[str, Any]

TITLES = {
    "base": "base",
    "base_refitted": "base, re-fitted",
    "finetuned": "fine-tuned",
    "scratch": "from scratch",
}
"""Models that a fine-tuning compares, by their names in ``metrics.json``."""

DRAWN = ("forces", "energy")
COMPARED = ("energy", "forces", "stress", "born_effective_charges")
TOLD_ELSEWHERE = (
    "models",
    "kept",
    "new_head",
    "verdict",
    "advice",
    "references",
    "energy_rms_mev_per_atom",
    "forgetting_ratio",
)
"""What the account says that is no fact of how the model was fine-tuned."""
PART_TITLES = {"val": "validation MAE", "test": "test MAE", "held_out": "held-out old frames, MAE"}


def references_table(references: Mapping[str, tuple[float, float, bool]]) -> Table:
    """Reference energies {symbol: (of the checkpoint, re-fitted, whether determined)}, eV.

    >>> print(references_table({"Si": (-5.0, -4.5, True)}).markdown())
    | element | checkpoint | re-fitted | shift |
    |:---|---:|---:|---:|
    | Si | −5.0000 | −4.5000 | +0.5000 |
    """
    columns = (Column("element", is_number=False), *(Column(title) for title in ("checkpoint", "re-fitted", "shift")))
    rows = tuple(
        (symbol if known else f"{symbol} *", _signed(old, ""), _signed(new, ""), _signed(new - old, "+"))
        for symbol, (old, new, known) in references.items()
    )
    undetermined = [symbol for symbol, (_, _, known) in references.items() if not known]
    caption = "Reference energies of the elements, eV per atom."
    if undetermined:
        caption += (
            f" * The compositions do not tell {' and '.join(undetermined)} apart: of all shifts that fit, these are "
            "nearest to one shift for all atoms. Energies of these compositions are right, others need not be."
        )
    return Table(columns, rows, caption=caption)


def models_table(account: Account) -> Table:
    """Errors (rows) of base, fine-tuned and other models (columns) on validation, test and held-out frames.

    >>> errors = {"val": {"forces_mae_mev_per_ang": 90.0}}
    >>> print(models_table({"kept": "finetuned", "models": {"finetuned": errors}}).markdown())
    | error | fine-tuned (kept) |
    |:---|---:|
    | validation MAE: forces (meV/Å) | 90.0 |
    """
    models: Mapping[str, Account] = account["models"]
    rows = [("validation loss", *(significant(errors.get("validation_loss")) for errors in models.values()))]
    for part, title in PART_TITLES.items():
        for name in COMPARED:
            values = [errors.get(part, {}).get(metric_name(name, "mae")) for errors in models.values()]
            label = f"{title}: {PROPERTIES[name].title} ({PROPERTIES[name].report_unit})"
            rows.append((label, *(significant(value) for value in values)))
    columns = [Column("error", is_number=False)]
    columns += [Column(TITLES[name] + (" (kept)" if name == account["kept"] else "")) for name in models]
    told = tuple(row for row in rows if any(cell != MISSING for cell in row[1:]))
    caption = f"{_reason(account)}. Re-fitted: with reference energies fitted to the new data."
    if any(row[0].startswith(PART_TITLES["held_out"]) for row in told):
        caption += " Energies of old frames are measured from the checkpoint's reference energies."
    return Table(tuple(columns), told, caption=caption)


def finetuning_sections(
    metrics: Mapping[str, Any], log: Mapping[str, Any], scratch_log: Mapping[str, Any]
) -> tuple[Section, ...]:
    """The comparison, the shifts of the reference energies, and what was trained; none for other trainings.

    Args:
        metrics: content of ``metrics.json``.
        log: columns of ``log.csv`` of the fine-tuning.
        scratch_log: columns of that of the training from scratch, empty without one.
    """
    account = metrics.get("finetuning")
    if account is None:
        return ()
    blocks: list[Block] = [Cards(_cards(account)), *(Text(f"To try: {line}") for line in account["advice"])]
    blocks.append(models_table(account))
    blocks += _galleries(account, {TITLES["finetuned"]: log, TITLES["scratch"]: scratch_log})
    sections = [Section("Fine-tuning", tuple(blocks))]
    if "references" in account:
        sections.append(Section("Reference energies", _reference_blocks(account)))
    facts = {key: value for key, value in account.items() if key not in TOLD_ELSEWHERE}
    return (*sections, Section("How it was fine-tuned", (facts_table(facts),)))


def _reference_blocks(account: Account) -> tuple[Block, ...]:
    references = {
        symbol: (values["base_ev"], values["refitted_ev"], values["is_determined"])
        for symbol, values in account["references"].items()
    }
    rms = account["energy_rms_mev_per_atom"]
    text = (
        "Shifts of the reference energies, fitted to the training structures before the first step, bring the base's "
        f"energy error (RMS) from {significant(rms['base'])} to {significant(rms['refitted'])} meV/atom."
    )
    return Text(text), references_table(references)


def _reason(account: Account) -> str:
    """Why the model that is kept was chosen."""
    which = "with the new head" if account.get("new_head") else "of the lowest validation loss"
    return f"The model {which} is kept"


def _cards(account: Account) -> tuple[Card, ...]:
    """Kept model, its errors over those of the base and of training from scratch, forgetting."""
    models = account["models"]
    part = "test" if "test" in models["finetuned"] else "val"
    forces = metric_name("forces", "mae")
    cards = [Card("Kept", TITLES[account["kept"]], remark=_reason(account))]
    tuned = models["finetuned"].get(part, {}).get(forces)
    for other in ("base_refitted", "scratch"):
        error = models.get(other, {}).get(part, {}).get(forces)
        if tuned is not None and error:
            values = f"{significant(tuned)} of {significant(error)} meV/Å"
            remark = f"force MAE on {part_title(part)} data\n{values}"
            cards.append(Card(f"Fine-tuned / {TITLES[other]}", f"{tuned / error:.2f}", remark=remark))
    if "forgetting_ratio" in account:
        before, after = (models[name]["held_out"][forces] for name in ("base", "finetuned"))
        remark = f"force MAE on held-out old frames\n{significant(before)} before, {significant(after)} meV/Å after"
        cards.append(Card("Forgetting ratio", f"{account['forgetting_ratio']:.2f}", remark=remark))
    return tuple(cards)


def _galleries(account: Account, logs: Mapping[str, Any]) -> list[Gallery]:
    from gnnpot.report.finetuning_plots import error_bars, validation_figure

    rows = {
        "": [error_bars(account["models"], name, TITLES) for name in DRAWN],
        "Dashed: where the fine-tuning started.": [validation_figure(logs, name) for name in DRAWN],
    }
    shown = {caption: tuple(figure for figure in row if figure is not None) for caption, row in rows.items()}
    return [Gallery(row, caption=caption) for caption, row in shown.items() if row]


def _signed(value: float, plus: str) -> str:
    return f"{'−' if value < 0 else plus}{abs(value):.4f}"

"""The report of a phonon calculation, from the content of its ``phonon.json`` alone."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from gnnpot._version import __version__
from gnnpot.keys import WAVENUMBER_PER_THZ
from gnnpot.report.facts import facts_table
from gnnpot.report.formatting import significant
from gnnpot.report.page import Block, Card, Cards, Column, Figure, Folded, Page, Section, Table, Text

Record = Mapping[str, Any]
SMALL_SPLITTING = 0.01
"""THz, below which a longitudinal and a transverse frequency are the same."""
N_MODES_SHOWN = 36


def phonon_page(record: Record) -> tuple[Page, dict[str, Figure]]:
    """The page, and its figures by the names of their files."""
    from gnnpot.report import phonon_plots

    figures = {"bands": phonon_plots.band_figure(record), "thermal": phonon_plots.thermal_figure(record)}
    splitting = phonon_plots.splitting_figure(record)
    shown = (splitting,) if splitting is not None else ()
    if splitting is not None:
        figures["splitting"] = splitting
    sections = [
        Section("Bands and density of states", (_cards(record), figures["bands"])),
        Section("Modes at Γ", (*_gamma_blocks(record), *shown)),
        Section("Thermal properties", (figures["thermal"],)),
    ]
    if "electric" in record:
        sections.append(Section("Born charges and dielectric tensor", (born_table(record), dielectric_table(record))))
    sections.append(
        Section("How it was computed", (*(Text(s) for s in sentences(record)), facts_table(_facts(record))))
    )
    footer = (
        f"gnnpot {__version__}. Frequencies in THz (1 THz = 33.356 cm⁻¹ = 4.136 meV), imaginary ones as negative "
        "numbers; thermal properties per mole of primitive cells."
    )
    title = f"Phonons of {record['formula']}"
    return Page(title, _lead(record), tuple(sections), footer), figures


def sentences(record: Record) -> list[str]:
    """What a reader should know before trusting the frequencies."""
    found = []
    if "electric" in record:
        found.append(
            f"Polar modes are corrected for their electric field with Born charges predicted by the model and ε∞ "
            f"{_diagonal(record['electric']['dielectric_electronic'])} ({record['electric']['dielectric_from']})."
        )
    else:
        found.append(
            "Without the electric field of polar modes (no LO-TO splitting): "
            "it takes a model with a response head, ε∞, and nac=true."
        )
    asymmetry = record["asymmetry"]
    if record["direct_forces"]:
        found.append(
            f"{record['model']} predicts forces directly: they are no gradient of an energy, and the force constants "
            f"were asymmetric by {100 * asymmetry:.2g} % (rms) before they were symmetrized. Frequencies may carry an "
            "error of that order."
        )
    else:
        found.append(f"The force constants were asymmetric by {asymmetry:.1e} (rms, relative) before symmetrization.")
    nearby = record["nearby"]
    if nearby["symprec_ang"] > record["symprec_ang"] and nearby["space_group"] != record["space_group"]:
        found.append(
            f"With symprec={nearby['symprec_ang']:g} in the place of {record['symprec_ang']:g} Å the space group is "
            f"{nearby['space_group']}: a relaxation ends that near to it."
        )
    half, cutoff = record["supercell_half_width_ang"], record["cutoff_ang"]
    if half < cutoff:
        found.append(
            f"Half the width of the supercell, {half:.2f} Å, is less than the cutoff of the model, {cutoff:g} Å: "
            "interactions with images are folded together. Compare with a larger supercell."
        )
    return found


def gamma_table(record: Record) -> Table:
    """Frequencies at Γ, and with the field of polar modes along x, y, z where it is known."""
    gamma = record["gamma"]
    transverse = np.array(gamma["frequencies_THz"])
    groups = {f"q → 0 along {name}": np.array(values) for name, values in gamma["longitudinal_THz"].items()}
    columns = [Column("mode"), Column("THz", "Γ"), Column("cm⁻¹", "Γ")]
    for name in groups:
        columns += [Column("THz", name), Column("cm⁻¹", name)]
    rows = []
    for k, value in enumerate(transverse[:N_MODES_SHOWN]):
        cells = [str(k + 1)]
        for frequency in (value, *(values[k] for values in groups.values())):
            cells += [_fixed(frequency, 3), _fixed(WAVENUMBER_PER_THZ * frequency, 1)]
        rows.append(tuple(cells))
    left = len(transverse) - len(rows)
    return Table(tuple(columns), tuple(rows), caption=f"and {left} more in phonon.json" if left else "")


def born_table(record: Record) -> Table:
    """Predicted Born charges of the primitive cell."""
    charges = np.array(record["electric"]["born_effective_charges_e"])
    names = [f"{a}{b}" for a in "xyz" for b in "xyz"]
    columns = (Column("atom", is_number=False), *(Column(name, "Z (e), field first") for name in names))
    rows = (
        (symbol, *(f"{z:.3f}" for z in tensor.ravel()))
        for symbol, tensor in zip(record["primitive"]["symbols"], charges, strict=True)
    )
    change = record["electric"]["born_changed_by_symmetrization_e"]
    return Table(columns, tuple(rows), caption=f"Symmetrized by phonopy, which changed a component by {change:.1g} e.")


def dielectric_table(record: Record) -> Table:
    """Electronic and static dielectric tensors."""
    electric = record["electric"]
    columns = (Column("", is_number=False), *(Column(name, "ε") for name in ("xx", "yy", "zz", "yz", "xz", "xy")))
    rows = []
    for name, key in (("electronic, ε∞", "dielectric_electronic"), ("static, ε∞ and lattice", "dielectric_static")):
        tensor = np.array(electric[key])
        rows.append((name, *(f"{tensor[a, b]:.3f}" for a, b in ((0, 0), (1, 1), (2, 2), (1, 2), (0, 2), (0, 1)))))
    caption = "The lattice part is (e²/ε0V) Σ p⊗p/ω² over the transverse modes at Γ."
    return Table(columns, tuple(rows), caption=caption)


def largest_splitting(record: Record) -> float:
    """Largest rise of a mode at Γ by the field of polar modes, from what it would be without that, THz."""
    longitudinal, plain = (record["gamma"].get(key, {}) for key in ("longitudinal_THz", "without_field_THz"))
    return max((float((np.array(v) - plain[name]).max()) for name, v in longitudinal.items()), default=0.0)


def _fixed(value: float, digits: int) -> str:
    """A number without the sign of a zero."""
    return f"{round(value, digits) + 0.0:.{digits}f}"


def _lead(record: Record) -> str:
    highest = max(max(max(row) for row in band["frequencies_THz"]) for band in record["bands"])
    lowest = record["lowest_frequency_THz"]
    text = f"Frequencies up to {highest:.2f} THz ({WAVENUMBER_PER_THZ * highest:.0f} cm⁻¹)"
    stable = "all modes are stable" if lowest > -0.1 else f"unstable: a mode at {lowest:.2f} THz (imaginary)"
    return f"{text}, space group {record['space_group']}; {stable}."


def _cards(record: Record) -> Cards:
    thermal = record["thermal"]
    room = int(np.argmin(np.abs(np.array(thermal["temperatures_K"]) - 300.0)))
    optical = [f for f in record["gamma"]["frequencies_THz"] if f > SMALL_SPLITTING]
    cards = [Card("Highest at Γ", significant(max(optical, default=0.0), 4), "THz", "transverse")]
    splitting = largest_splitting(record)
    if record["gamma"]["longitudinal_THz"]:
        cards.append(Card("LO-TO splitting", significant(splitting, 4), "THz", "largest at Γ"))
    cards += [
        Card("Zero-point energy", significant(thermal["free_energy_kJ_per_mol"][0]), "kJ/mol", "of primitive cells"),
        Card(
            f"Heat capacity, {thermal['temperatures_K'][room]:.0f} K",
            significant(thermal["heat_capacity_J_per_K_per_mol"][room]),
            "J/K/mol",
            "of primitive cells",
        ),
        Card("Lowest frequency", _fixed(record["lowest_frequency_THz"], 2), "THz", "negative: imaginary"),
    ]
    return Cards(tuple(cards))


def _gamma_blocks(record: Record) -> tuple[Block, ...]:
    table = gamma_table(record)
    return (Folded(f"All {len(table.rows)} modes", (table,)),) if len(table.rows) > 18 else (table,)


def _diagonal(tensor: list[list[float]]) -> str:
    values = [f"{tensor[k][k]:.3g}" for k in range(3)]
    return values[0] if len(set(values)) == 1 else f"({', '.join(values)})"


def _facts(record: Record) -> dict[str, Any]:
    matrix = np.array(record["supercell"])
    plain = not np.any(matrix - np.diag(np.diag(matrix)))
    facts = {
        "model": record["model"],
        "checkpoint": record["checkpoint"],
        "structure": record["structure"],
        "supercell": " × ".join(str(n) for n in np.diag(matrix)) if plain else str(matrix.tolist()),
    }
    names = (
        "n_atoms_supercell", "n_displaced_supercells", "displacement_ang", "symprec_ang", "relaxation", "gnnpot_version"
    )  # fmt: skip
    facts |= {name: record[name] for name in names}
    facts["largest force on an atom at its place"] = f"{record['residual_force_ev_per_ang']:.2g} eV/Å"
    facts["mesh of the density of states"] = " × ".join(str(n) for n in record["dos"]["mesh"])
    return facts

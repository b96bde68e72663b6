"""Do energies, forces and stress of a dataset belong to each other? Units and signs, tried on similar frames.

Between two similar frames ΔE = -F·Δr + V σ:ε. Where this fails, but holds with one side multiplied by a factor that
a unit or a sign makes, the unit or the sign is wrong.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import ase
import numpy as np
import numpy.typing as npt

from gnnpot.data.frame_pairs import FramePairs, similar_pairs
from gnnpot.keys import ANGSTROM_PER_BOHR, EV_PER_HARTREE, GPA_PER_EV_PER_CUBIC_ANGSTROM

FloatArray = npt.NDArray[np.float64]

FEWEST_PAIRS = 6
FORCES_AGREE, STRESS_AGREES = 0.3, 0.5
"""A hypothesis holds when half of the pairs obey it to this relative mismatch,"""
FORCES_BETTER, STRESS_BETTER = 3.0, 2.0
"""and better than the labels as they stand by this factor."""
TIED = 0.08
"""Hypotheses whose mismatch is not larger than the best one's by more than this are named beside it."""
KCAL_PER_MOL = 23.0605
KJ_PER_MOL = 96.4853


@dataclass(frozen=True)
class Hypothesis:
    """What may be wrong with a label: the factor it gives to the work, in words, and what to type."""

    factor: FloatArray | float
    relation: str
    suspicion: str
    remedy: str


def consistency_warnings(frames: Sequence[ase.Atoms]) -> list[str]:
    """Contradictions between the units and signs of energies, forces and stress; empty where there are none.

    Compares ΔE with -(F_a + F_b)/2·Δr + (V_a σ_a + V_b σ_b)/2:ε over pairs of similar frames, as they stand and
    under every mistake that is known to happen (hartree, rydberg, kcal/mol, energies per atom, gradients for
    forces, GPa, kbar, VASP's sign, virials). Silent where there are too few similar frames.

    >>> consistency_warnings([ase.Atoms("H")])
    []
    """
    pairs = similar_pairs(frames)
    found = _check_forces(pairs)
    return [found] if found else [text for text in (_check_stress(pairs),) if text]


def _check_forces(pairs: FramePairs) -> str | None:
    """ΔE against the work of the forces, between frames displaced much more than strained."""
    displaced = pairs.displacement > 3 * pairs.strain * np.cbrt(pairs.volume)
    pairs = _most_telling(pairs.where(displaced & (pairs.force_work != 0)), "force_work")
    found = _explanation(pairs.energy, pairs.force_work, _force_hypotheses(pairs), FORCES_AGREE, FORCES_BETTER)
    return f"energies and forces contradict each other: ΔE is {found}" if found else None


def _check_stress(pairs: FramePairs) -> str | None:
    """What the forces leave of ΔE against the work of the stress, between frames strained more than displaced."""
    strained = (pairs.strain > 1e-3) & (pairs.displacement < pairs.strain * np.cbrt(pairs.volume))
    known = np.isfinite(pairs.stress_work) & (pairs.stress_work != 0)
    pairs = _most_telling(pairs.where(strained & known), "stress_work")
    rest = pairs.energy - pairs.force_work
    found = _explanation(rest, pairs.stress_work, _stress_hypotheses(pairs), STRESS_AGREES, STRESS_BETTER)
    return f"energies and stress contradict each other: ΔE + F·Δr is {found}" if found else None


def _most_telling(pairs: FramePairs, work: str) -> FramePairs:
    """The half of the pairs between which most work was done."""
    size = np.abs(getattr(pairs, work))
    return pairs.where(size >= np.median(size)) if len(pairs) else pairs


def _explanation(
    energy: FloatArray, work: FloatArray, hypotheses: Sequence[Hypothesis], agrees: float, better: float
) -> str | None:
    """What is wrong with the work, in words, if a hypothesis explains the energies and the labels do not."""
    if len(energy) < FEWEST_PAIRS:
        return None
    as_it_stands = _mismatch(energy, work)
    mismatches = [_mismatch(energy, hypothesis.factor * work) for hypothesis in hypotheses]
    best = min(mismatches)
    if best > agrees or best * better > as_it_stands:
        return None
    likely = [h for h, mismatch in zip(hypotheses, mismatches, strict=True) if mismatch <= best + TIED]
    return (
        "; or ".join(f"{h.relation}, as if {h.suspicion}: {h.remedy}" for h in likely)
        + f". (Median mismatch over {len(energy)} pairs of similar frames: {best:.2f} so, {as_it_stands:.2f} as read.)"
    )


def _mismatch(energy: FloatArray, work: FloatArray) -> float:
    """Median over pairs of |ΔE - W| / max(|ΔE|, |W|): 0 where they agree, 2 where they are opposite."""
    size = np.maximum(np.maximum(np.abs(energy), np.abs(work)), 1e-12)
    return float(np.median(np.abs(energy - work) / size))


def _force_hypotheses(pairs: FramePairs) -> list[Hypothesis]:
    hartree, bohr = EV_PER_HARTREE, ANGSTROM_PER_BOHR
    rows: list[tuple[FloatArray | float, str, str, str]] = [
        (1 / hartree, "1/27.2 of", "energies were in hartree", _energy_unit("hartree")),
        (2 / hartree, "1/13.6 of", "energies were in rydberg", _energy_unit("rydberg")),
        (KCAL_PER_MOL, "23.1 times", "energies were in kcal/mol", _energy_unit("kcal/mol")),
        (KJ_PER_MOL, "96.5 times", "energies were in kJ/mol", _energy_unit("kJ/mol")),
        (1000.0, "1000 times", "energies were in meV", _energy_unit("meV")),
        (1 / pairs.n_atoms, "1/N of", "energies were per atom", "data.keys={energy_per_atom: energy}"),
        (hartree / bohr, "51.4 times", "forces were in hartree/bohr", "data.units={forces: hartree/bohr}"),
        (hartree / bohr / 2, "25.7 times", "forces were in rydberg/bohr", "data.units={forces: rydberg/bohr}"),
        (1 / KCAL_PER_MOL, "1/23.1 of", "forces were in kcal/mol/Å", "data.units={forces: kcal/mol/angstrom}"),
        (
            1 / bohr,
            "1.89 times",
            "energies and forces were in hartree (or rydberg) and bohr, but lengths in Å",
            "data.units={energy: hartree, forces: hartree/bohr}",
        ),
        (-1.0, "minus", "forces were gradients +∂E/∂r", "change their sign in the file"),
    ]
    return [Hypothesis(factor, f"{times} -F·Δr", suspicion, remedy) for factor, times, suspicion, remedy in rows]


def _energy_unit(unit: str) -> str:
    """What to type for an energy in another unit when all else is right."""
    return f"data.units={{energy: {unit}, forces: eV/angstrom, stress: eV/angstrom^3}}"


def _stress_hypotheses(pairs: FramePairs) -> list[Hypothesis]:
    gpa = GPA_PER_EV_PER_CUBIC_ANGSTROM
    hartree_per_cubic_bohr = EV_PER_HARTREE / ANGSTROM_PER_BOHR**3
    rows: list[tuple[FloatArray | float, str, str, str]] = [
        (-1.0, "minus", "positive in compression", "data.units={stress_sign: vasp}"),
        (1 / gpa, "1/160.2 of", "in GPa", "data.units={stress: GPa}"),
        (-1 / gpa, "-1/160.2 of", "in GPa, positive in compression", "data.units={stress: GPa, stress_sign: vasp}"),
        (0.1 / gpa, "1/1602 of", "in kbar", "data.units={stress: kbar}"),
        (-0.1 / gpa, "-1/1602 of", "VASP's, in kbar", "data.units={stress: kbar, stress_sign: vasp}"),
        (hartree_per_cubic_bohr, "184 times", "in hartree/bohr³", "data.units={stress: hartree/bohr^3}"),
        (-1 / pairs.volume, "-1/V of", "a virial in eV", "data.keys={virial: stress}"),
        (1 / pairs.volume, "1/V of", "V σ in eV", "divide it by the volume in the file"),
    ]
    return [Hypothesis(factor, f"{times} V σ:ε", f"stress were {unit}", remedy) for factor, times, unit, remedy in rows]

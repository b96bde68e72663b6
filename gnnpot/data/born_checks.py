"""What looks wrong in Born charges, before anything is learned from them."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import ase
import numpy as np
import torch
from ase.data import chemical_symbols
from numpy.typing import NDArray

from gnnpot.data.labels import frame_name, labels_of
from gnnpot.data.polarization import nearest_branch

LARGEST_RESIDUAL = 0.01
"""e per atom; a sum of Born charges that misses the total charge by more is not converged, or not of all atoms."""

LARGEST_CHARGE = 20.0
"""e; larger components are failed calculations or metals (ferroelectric oxides reach 8)."""

LARGEST_DEVIATION = 6.0
"""e, of an atom's tr Z/3 from the median of its element."""

N_PAIRS = 50
"""Pairs of frames on which the order of indices is tested, at most."""


@dataclass(frozen=True)
class IndexOrder:
    """Whether Z Δu or Zᵀ Δu explains how the polarization changes from frame to frame; rms residuals, e·Å."""

    n_pairs: int
    change: float
    field_first: float
    transposed: float


def born_warnings(frames: Sequence[ase.Atoms]) -> list[str]:
    """Sentences about sums that are not the total charge, outliers, and tensors that look transposed.

    >>> atoms = ase.Atoms("MgO", [[0, 0, 0], [0, 0, 2.1]], cell=[4, 4, 4], pbc=True)
    >>> atoms.arrays["born_effective_charges"] = np.array([2.0 * np.eye(3), -1.5 * np.eye(3)])
    >>> len(born_warnings([atoms]))
    1
    """
    labelled = [(atoms, labels_of(atoms).get("born_effective_charges")) for atoms in frames]
    known = [(atoms, born) for atoms, born in labelled if born is not None]
    if not known:
        return []
    found = [_about_sums(known), _about_sizes(known), _about_medians(known), _about_order(frames)]
    return [text for text in found if text is not None]


def sum_residual(atoms: ase.Atoms, born: NDArray[np.float64]) -> float:
    """Largest component of |Σ_i Z_i - Q·1| / N, e per atom."""
    excess = born.sum(axis=0) - float(atoms.info.get("charge") or 0.0) * np.eye(3)
    return float(np.abs(excess).max()) / max(len(atoms), 1)


def index_order(frames: Sequence[ase.Atoms], most: int = N_PAIRS) -> IndexOrder | None:
    """Compare ΔP with ½ (Z + Z') Δu, and with the transposed tensors, on consecutive frames of one crystal.

    ΔP is folded by the lattice to the branch nearest to each prediction. None where no two consecutive frames of the
    same atoms and cell both carry Born charges and a polarization.
    """
    rows: list[tuple[NDArray[np.float64], ...]] = []
    for first, second in pairwise(frames):
        if len(rows) == most:
            break
        row = _residuals(first, second)
        if row is not None:
            rows.append(row)
    if not rows:
        return None
    change, straight, transposed = (float(np.sqrt(np.mean(np.square(x)))) for x in zip(*rows, strict=True))
    return IndexOrder(len(rows), change, straight, transposed)


def _residuals(first: ase.Atoms, second: ase.Atoms) -> tuple[NDArray[np.float64], ...] | None:
    same = len(first) == len(second) and (first.numbers == second.numbers).all()
    if not same or not np.allclose(first.cell.array, second.cell.array, atol=1e-6) or not first.pbc.all():
        return None
    labels = [labels_of(atoms) for atoms in (first, second)]
    if not all({"born_effective_charges", "polarization"} <= one.keys() for one in labels):
        return None
    shift = second.positions - first.positions
    shift -= np.round(shift @ np.linalg.inv(first.cell.array)) @ first.cell.array
    born = 0.5 * (labels[0]["born_effective_charges"] + labels[1]["born_effective_charges"])
    change = labels[1]["polarization"] - labels[0]["polarization"]
    predictions = [np.einsum("nab,nb->a", tensors, shift) for tensors in (born, born.transpose(0, 2, 1))]
    return (predictions[0], *(_folded(change, prediction, first) - prediction for prediction in predictions))


def _folded(change: NDArray[np.float64], prediction: NDArray[np.float64], atoms: ase.Atoms) -> NDArray[np.float64]:
    both = torch.from_numpy(np.stack([change, prediction]))
    cell, pbc = torch.from_numpy(atoms.cell.array[None].copy()), torch.from_numpy(atoms.pbc[None].copy())
    folded: NDArray[np.float64] = nearest_branch(both[:1], both[1:], cell, pbc)[0].numpy()
    return folded


Known = Sequence[tuple[ase.Atoms, NDArray[np.float64]]]


def _about_sums(known: Known) -> str | None:
    residuals = [(sum_residual(atoms, born), frame_name(atoms)) for atoms, born in known]
    large = [one for one in residuals if one[0] > LARGEST_RESIDUAL]
    if not large:
        return None
    worst, name = max(large)
    return (
        f"in {len(large)} of {len(known)} frames the Born charges do not add up to the total charge: they miss it by "
        f"up to {worst:.3f} e per atom ({name}; above {LARGEST_RESIDUAL} is counted). A model fulfills the sum rule "
        "exactly and cannot follow them: give info['charge'] if the cell is charged, converge the response, or leave "
        "these frames out"
    )


def _about_sizes(known: Known) -> str | None:
    sizes = [(float(np.abs(born).max()), frame_name(atoms)) for atoms, born in known]
    large = [one for one in sizes if one[0] > LARGEST_CHARGE]
    if not large:
        return None
    worst, name = max(large)
    return (
        f"{len(large)} of {len(known)} frames have Born charges above {LARGEST_CHARGE:g} e (largest {worst:.1f} e, "
        f"{name}): metals and failed calculations do; leave them out, they dominate the loss"
    )


def _about_medians(known: Known) -> str | None:
    found: list[tuple[float, str]] = []
    numbers = np.concatenate([atoms.numbers for atoms, _ in known])
    means = np.concatenate([np.trace(born, axis1=1, axis2=2) / 3.0 for _, born in known])
    names = [frame_name(atoms) for atoms, _ in known for _ in range(len(atoms))]
    for number in np.unique(numbers):
        rows = np.flatnonzero(numbers == number)
        deviations = np.abs(means[rows] - np.median(means[rows]))
        for row, size in zip(
            rows[deviations > LARGEST_DEVIATION], deviations[deviations > LARGEST_DEVIATION], strict=True
        ):
            found.append((float(size), f"{chemical_symbols[number]} in {names[row]}"))
    if not found:
        return None
    worst, name = max(found)
    return (
        f"the mean Born charge of {len(found)} atoms is more than {LARGEST_DEVIATION:g} e off the median of its "
        f"element (worst: {name}, {worst:.1f} e): look at these frames"
    )


def _about_order(frames: Sequence[ase.Atoms]) -> str | None:
    order = index_order(frames)
    if order is None or order.transposed > 0.5 * order.field_first:
        return None
    return (
        "the Born charges look transposed: from frame to frame the polarization changes as Zᵀ·Δu "
        f"({order.transposed:.3f} e·Å left over), not as Z·Δu ({order.field_first:.3f} e·Å). Z[i, a, b] = ∂P_a/∂u_ib "
        "is expected: transpose them"
    )

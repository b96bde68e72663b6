"""Two atoms alone, from the longest distance down to collision: curves of models beside labeled ones."""

import itertools
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from ase import Atoms
from ase.data import chemical_symbols, covalent_radii
from numpy.typing import NDArray

from gnnpot.apps.datasets import frames_from
from gnnpot.apps.foreign import predicted_by
from gnnpot.data.labels import labels_of
from gnnpot.errors import DataError

FloatArray = NDArray[np.float64]
Pair = tuple[int, int]

DIMER = (0.35, 6.0)
"""Shortest distance of two atoms over the sum of their covalent radii, and the longest, Å."""

BOX = 40.0
"""Edge of the periodic cell for models that refuse two atoms without one, Å; its total charge is zero."""

INNER = 0.8
"""Sums of covalent radii above which a curve is compared with labels once more, without its steep end."""

N_DIMER = 120
MOST_PAIRS = 36


def pairs_of(numbers: Sequence[int], references: Mapping[str, Any]) -> tuple[list[Pair], int]:
    """Pairs of elements to draw, those with labels first, `MOST_PAIRS` at most; and how many there are.

    >>> pairs_of([8, 12], {"Mg-Mg": {}})
    ([(12, 12), (8, 8), (8, 12)], 3)
    """
    pairs = list(itertools.combinations_with_replacement(sorted(numbers), 2))
    ordered = sorted(pairs, key=lambda pair: name_of_pair(*pair) not in references)
    return ordered[:MOST_PAIRS], len(pairs)


def name_of_pair(a: int, b: int) -> str:
    """As O-Mg, the lighter element first.

    >>> name_of_pair(12, 8)
    'O-Mg'
    """
    return "-".join(chemical_symbols[z] for z in sorted((a, b)))


def dimer_curves(
    calculators: Mapping[str, Any], pairs: Sequence[Pair], references: Mapping[str, Any]
) -> dict[str, Any]:
    """Energy of two atoms alone against their distance, relative to the longest one, for each pair of elements.

    A direct-force model has no energy: the work  -∫ F dr  takes its place. A model that refuses two atoms without a
    cell, as one that takes the charge of the cell, has them in an otherwise empty one without charge (`in_box`). What
    it then says against a pair is kept (`missing`). `deviation` is that from the labels, where there are any.
    """
    found: dict[str, Any] = {}
    for a, b in pairs:
        bond = float(covalent_radii[a] + covalent_radii[b])
        distances = np.geomspace(DIMER[0] * bond, max(DIMER[1], 2.0 * bond), N_DIMER)
        labels = references.get(name_of_pair(a, b))
        distances = distances if labels is None else np.union1d(distances, labels["distance"])
        curves: dict[str, FloatArray] = {}
        boxed, missing = [], {}
        for model, calculator in calculators.items():
            try:
                curves[model], is_boxed = _dimer(calculator, a, b, distances)
            except Exception as error:  # calculators of others refuse in ways of their own
                missing[model] = str(error) or type(error).__name__
                continue
            boxed += [model] if is_boxed else []
        found[name_of_pair(a, b)] = {
            "bond": bond,
            "distance": np.round(distances, 4).tolist(),
            "energy": {model: [float(f"{x:.6g}") for x in curve] for model, curve in curves.items()},
            "repels_down_to": {model: repels_down_to(distances, curve, bond) for model, curve in curves.items()},
            "in_box": boxed,
            "missing": missing,
            "deviation": {
                model: deviation_from(labels, distances, curve, INNER * bond) for model, curve in curves.items()
            }
            if labels is not None
            else {},
        }
    return found


def _dimer(calculator: Any, a: int, b: int, distances: FloatArray) -> tuple[FloatArray, bool]:
    """The curve of one model, and whether its atoms lie in a periodic cell; raises where it refuses them."""
    try:
        return _curve(calculator, [_two_atoms(a, b, r) for r in distances], distances), False
    except Exception as first:
        try:
            return _curve(calculator, [_in_box(_two_atoms(a, b, r)) for r in distances], distances), True
        except Exception as second:  # ours ask for the cell first; those of others may be left unusable by the first
            raise (second if isinstance(first, DataError) else first) from None


def _two_atoms(a: int, b: int, distance: float) -> Atoms:
    return Atoms([a, b], [[0.0, 0.0, 0.0], [float(distance), 0.0, 0.0]])


def _in_box(atoms: Atoms) -> Atoms:
    return Atoms(atoms.numbers, atoms.positions, cell=[BOX] * 3, pbc=True, info={"charge": 0.0})


def _curve(calculator: Any, frames: Sequence[Atoms], distances: FloatArray) -> FloatArray:
    given = [predicted_by(calculator, frame) for frame in frames]
    energy = np.array([values.get("energy", np.nan) for values in given], dtype=np.float64)
    if not np.isfinite(energy).all():
        force = np.array([float(values["forces"][1, 0]) for values in given])
        steps = 0.5 * (force[1:] + force[:-1]) * np.diff(distances)
        energy = np.append(np.cumsum(steps[::-1])[::-1], 0.0)
    return energy - energy[-1]


def deviation_from(
    labels: Mapping[str, Any], distances: FloatArray, energy: FloatArray, inner: float
) -> dict[str, float | None]:
    """Root-mean-square deviation of a curve from labeled points, eV: of all, and of those farther than ``inner``.

    Both curves are zero at the longest labeled distance. The labeled distances are among ``distances``.

    >>> labels = {"distance": [1.0, 2.0, 3.0], "energy": [5.0, -1.0, 0.0]}
    >>> found = deviation_from(labels, np.arange(1.0, 5.0), np.array([8.0, -1.0, 0.0, 0.0]), inner=1.5)
    >>> round(found["all"], 6), found["outer"]
    (1.732051, 0.0)
    """
    r = np.asarray(labels["distance"], dtype=np.float64)
    found = energy[np.searchsorted(distances, r)]
    square = np.square(found - found[-1] - np.asarray(labels["energy"]))
    outer = square[r > inner]
    return {"all": float(np.sqrt(square.mean())), "outer": float(np.sqrt(outer.mean())) if len(outer) else None}


def repels_down_to(distances: FloatArray, energy: FloatArray, bond: float) -> float:
    """Shortest distance down to which the energy rises all the way, from 0.8 bonds inward.

    A potential may turn over where the data end: below this distance atoms fall into each other. 0.8 bonds means that
    there is no repulsion at all.

    >>> r = np.array([1.0, 2.0, 3.0, 4.0])
    >>> [repels_down_to(r, np.array([inner, 1.0, -1.0, 0.0]), bond=2.5) for inner in (5.0, -9.0)]
    [1.0, 2.0]
    """
    k = int(np.flatnonzero(distances <= INNER * bond)[-1])
    while k > 0 and energy[k - 1] > energy[k]:
        k -= 1
    return float(distances[k])


def reference_dimers(path: str, numbers: set[int]) -> dict[str, Any]:
    """Labeled pairs of atoms: distance and energy relative to the longest distance, eV, by pair of elements."""
    points: dict[str, dict[float, float]] = {}
    for atoms in frames_from(path):
        energy = labels_of(atoms).get("energy")
        if len(atoms) != 2 or energy is None or not set(atoms.numbers.tolist()) <= numbers:
            continue
        pair = points.setdefault(name_of_pair(*atoms.numbers.tolist()), {})
        pair[float(atoms.get_distance(0, 1))] = float(energy)
    found = {}
    for name, energies in points.items():
        distances = sorted(energies)
        found[name] = {"distance": distances, "energy": [energies[r] - energies[distances[-1]] for r in distances]}
    return found

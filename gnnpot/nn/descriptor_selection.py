"""A subset of descriptors that says most about the training set: by CUR decomposition, or by farthest points.

G. Imbalzano et al., J. Chem. Phys. 148, 241730 (2018). With X the descriptors of the atoms of one element, each column
with mean 0 and variance 1, both need C = XᵀX alone.

CUR takes the column with the largest leverage score v_f², v the leading eigenvector of C; then it takes the chosen
column out of all others, C ← C - C[:, f] C[f, :]/C[f, f], and goes on. Farthest points begins with the same column
and adds the one whose distance |X_f - X_g| to the nearest chosen one is largest.
"""

from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt
from ase.data import chemical_symbols

from gnnpot.data.graph import AtomicGraph
from gnnpot.errors import ConfigError, did_you_mean
from gnnpot.nn.descriptor_operators import fast_descriptors
from gnnpot.nn.descriptors import DescriptorSet
from gnnpot.nn.layers import ElementTable
from gnnpot.nn.moment_functions import is_moment_function
from gnnpot.nn.symmetry_functions import parse_function

Matrix = npt.NDArray[np.float64]

MOST_ATOMS = 20_000
"""Atoms that are looked at, in frames spread evenly over the training set."""

ITERATIONS = 300
"""Most steps of the power iteration for the leading eigenvector."""


def select_functions(
    lines: Sequence[str], elements: Sequence[int], graphs: Sequence[AtomicGraph], n_functions: int, method: str = "cur"
) -> list[str]:
    """At most ``n_functions`` of each element's functions, in the order given.

    Args:
        lines: symmetry functions as `gnnpot.nn.symmetry_functions.parse_function` reads them.
        elements: atomic numbers of the model.
        graphs: training set.
        n_functions: how many each element keeps.
        method: ``cur`` or ``fps``.

    Raises:
        ConfigError: no such method, no function to keep, no training set to choose by, or functions of every center.
    """
    if any(is_moment_function(line) for line in lines):
        raise ConfigError(
            f"model.n_functions={n_functions} chooses among the functions of each element, and moments "
            "are of every center: leave it null, and set n_radial and n_angular"
        )
    if method not in METHODS:
        raise ConfigError(f"model.select={method!r} is unknown; {did_you_mean(method, METHODS)}")
    if n_functions < 1:
        raise ConfigError(f"model.n_functions={n_functions}: keep one function or more; null keeps all")
    descriptor_set = DescriptorSet(elements, [parse_function(line) for line in lines])
    if max(descriptor_set.n_of_element) <= n_functions:
        return list(lines)
    if not graphs:
        raise ConfigError(
            f"model.n_functions={n_functions}: functions are chosen by a training set. Train with gnnpot fit, or give "
            "the chosen ones as model.functions"
        )
    kept: set[tuple[int, int]] = set()
    for t, covariance in enumerate(_covariances(descriptor_set, graphs)):
        n = min(n_functions, descriptor_set.n_of_element[t])
        kept |= {(descriptor_set.elements[t], column) for column in METHODS[method](covariance, n)}
    chosen = zip(lines, descriptor_set.functions, descriptor_set.columns, strict=True)
    return [line for line, function, column in chosen if (function.center, column) in kept]


def _covariances(descriptor_set: DescriptorSet, graphs: Sequence[AtomicGraph]) -> list[Matrix]:
    """Correlations of each element's functions, ``(n, n)``; zero for those that never vary."""
    step = max(1, -(-sum(graph.n_atoms for graph in graphs) // MOST_ATOMS))
    table = ElementTable(descriptor_set.elements)
    rows: list[list[Matrix]] = [[] for _ in descriptor_set.elements]
    for graph in graphs[::step]:
        types = table(graph.atomic_numbers)
        values = fast_descriptors(descriptor_set, graph, types).double().numpy()
        for t, found in enumerate(rows):
            found.append(values[(types == t).numpy()][:, : descriptor_set.n_of_element[t]])
    return [_correlations(np.concatenate(found), z) for found, z in zip(rows, descriptor_set.elements, strict=True)]


def _correlations(values: Matrix, element: int) -> Matrix:
    if not len(values):
        raise ConfigError(
            f"model.n_functions: no {chemical_symbols[element]} in the training set to choose its functions by"
        )
    centered = values - values.mean(axis=0)
    spread = np.sqrt((centered**2).mean(axis=0))
    floor = 1e-9 * spread.max(initial=0.0)
    scaled = np.divide(centered, spread, out=np.zeros_like(centered), where=spread > floor)
    return np.asarray(scaled.T @ scaled / len(scaled), dtype=np.float64)


def choose_by_cur(covariance: Matrix, n: int) -> list[int]:
    """Columns in the order in which CUR takes them.

    >>> choose_by_cur(np.array([[1.0, 0.9, 0.0], [0.9, 1.0, 0.1], [0.0, 0.1, 1.0]]), 2)
    [1, 2]
    """
    left = covariance.copy()
    chosen: list[int] = []
    while len(chosen) < n:
        scores = np.where(np.diag(left) > 1e-12, _leading_eigenvector(left) ** 2, -1.0)
        scores[chosen] = -2.0
        best = int(scores.argmax())
        if scores[best] >= 0.0:
            left -= np.outer(left[:, best], left[best]) / left[best, best]
        chosen.append(best)
    return chosen


def choose_farthest(covariance: Matrix, n: int) -> list[int]:
    """Columns in the order in which farthest point sampling takes them.

    >>> choose_farthest(np.array([[1.0, 0.9, 0.0], [0.9, 1.0, 0.1], [0.0, 0.1, 1.0]]), 2)
    [1, 2]
    """
    lengths = np.diag(covariance)
    chosen = choose_by_cur(covariance, 1)
    nearest = np.full(len(lengths), np.inf)
    while len(chosen) < n:
        last = chosen[-1]
        nearest = np.minimum(nearest, lengths + lengths[last] - 2.0 * covariance[last])
        nearest[chosen] = -1.0
        chosen.append(int(nearest.argmax()))
    return chosen


METHODS: dict[str, Callable[[Matrix, int], list[int]]] = {"cur": choose_by_cur, "fps": choose_farthest}
"""Ways to select, by the names they have in a configuration."""


def _leading_eigenvector(matrix: Matrix) -> Matrix:
    """By power iteration from the longest column; zeros for a zero matrix."""
    vector = matrix[:, int(np.diag(matrix).argmax())].copy()
    for _ in range(ITERATIONS):
        size = float(np.linalg.norm(vector))
        if size == 0.0:
            return vector
        vector /= size
        following = matrix @ vector
        if float(np.linalg.norm(following - (vector @ following) * vector)) < 1e-8 * float(np.linalg.norm(following)):
            break
        vector = following
    return np.asarray(vector / max(float(np.linalg.norm(vector)), 1e-300), dtype=np.float64)

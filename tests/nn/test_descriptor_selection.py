"""Selection of symmetry functions on a training set."""

import numpy as np
import pytest
from ase.build import bulk

from gnnpot.data.graph import graph_from_atoms
from gnnpot.errors import ConfigError
from gnnpot.models.hdnnp import HDNNP
from gnnpot.nn.descriptor_selection import METHODS, choose_by_cur, choose_farthest, select_functions

LINES = [
    f"G2 {z} {x} eta={eta} cutoff=4 polynomial" for z in ("Na", "Cl") for x in ("Na", "Cl") for eta in (0.1, 0.4, 2)
]


@pytest.fixture(scope="module")
def salt():
    graphs = []
    for seed in range(3):
        atoms = bulk("NaCl", "rocksalt", a=5.64)
        atoms.rattle(0.2, seed=seed)
        graphs.append(graph_from_atoms(atoms, 4.0))
    return graphs


def with_copies(seed=0):
    """Correlations of 3 independent columns and 5 that are sums of these."""
    rng = np.random.default_rng(seed)
    independent = rng.normal(size=(400, 3))
    values = np.hstack([independent, independent @ rng.normal(size=(3, 5))])
    values = (values - values.mean(0)) / values.std(0)
    return values.T @ values / len(values), values


@pytest.mark.parametrize("method", METHODS)
def test_the_chosen_columns_span_the_space(method):
    covariance, values = with_copies()
    chosen = METHODS[method](covariance, 3)
    rest = values - values[:, chosen] @ np.linalg.lstsq(values[:, chosen], values, rcond=None)[0]
    assert np.abs(rest).max() < 1e-9
    assert len(set(METHODS[method](covariance, 8))) == 8


def test_cur_begins_with_the_largest_leverage_score():
    covariance, values = with_copies(1)
    leading = np.linalg.svd(values)[2][0]
    assert choose_by_cur(covariance, 1) == [int((leading**2).argmax())]


def test_farthest_points_avoid_copies():
    values = np.random.default_rng(0).normal(size=(500, 4))
    values = np.hstack([values, values + 1e-3 * np.random.default_rng(1).normal(size=values.shape)])
    chosen = choose_farthest(np.cov(values.T), 4)
    assert {column % 4 for column in chosen} == {0, 1, 2, 3}


@pytest.mark.parametrize("method", METHODS)
def test_every_element_keeps_as_many_and_the_order_stays(salt, method):
    chosen = select_functions(LINES, [11, 17], salt, 4, method)
    assert [line.split()[1] for line in chosen] == ["Na"] * 4 + ["Cl"] * 4
    assert chosen == [line for line in LINES if line in chosen]
    assert chosen == select_functions(LINES, [11, 17], salt, 4, method)
    assert select_functions(chosen, [11, 17], salt, 4, method) == chosen


def test_the_model_is_resolved_to_the_chosen_functions(salt):
    config = {
        "elements": None,
        "cutoff": 4.0,
        "functions": None,
        "n_radial": 6,
        "n_angular": 2,
        "envelope": "polynomial",
        "descriptors": "chebyshev",
        "n_functions": 5,
        "select": "fps",
    }
    model = HDNNP(**HDNNP.resolve(config, salt))
    assert model.descriptor_set.n_of_element == [5, 5]
    assert HDNNP.resolve(model.arguments(), salt) == model.arguments()


@pytest.mark.parametrize(
    ("n_functions", "method", "message"),
    [
        (3, "curr", "did you mean 'cur'"),
        (0, "cur", "n_functions=0: keep one function or more"),
        (3, "fps", "n_functions=3: functions are chosen by a training set"),
    ],
)
def test_what_cannot_be_selected_is_refused(n_functions, method, message):
    with pytest.raises(ConfigError, match=message):
        select_functions(LINES, [11, 17], [], n_functions, method)

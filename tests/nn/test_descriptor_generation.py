"""Symmetry functions generated from data."""

from itertools import permutations

import pytest
from ase import Atoms
from ase.build import bulk

from gnnpot.data.graph import graph_from_atoms
from gnnpot.errors import ConfigError
from gnnpot.nn.descriptor_generation import (
    DESCRIPTORS,
    MOMENTS,
    N_ORDERS,
    PUBLISHED_DESCRIPTORS,
    count_generated,
    generate_functions,
)
from gnnpot.nn.descriptors import DescriptorSet
from gnnpot.nn.symmetry_functions import parse_function


def rattled_salt(seed):
    atoms = bulk("NaCl", "rocksalt", a=5.64, cubic=True)
    atoms.rattle(0.2, seed=seed)
    return graph_from_atoms(atoms, 5.0)


def test_grids_begin_at_the_shortest_distance_of_each_pair():
    graphs = [rattled_salt(seed) for seed in range(2)]
    lines = generate_functions([11, 17], 5.0, 6, 2, "polynomial", graphs)
    functions = [parse_function(line) for line in lines]
    radial = [f for f in functions if f.kind == "G2"]
    pairs = {(f.center, *f.neighbors) for f in radial}
    starts = {pair: min(f.shift for f in radial if (f.center, *f.neighbors) == pair) for pair in pairs}
    assert 2.0 < starts[(11, 17)] == starts[(17, 11)] < 2.8
    assert starts[(11, 11)] > 3.0
    assert all(f.eta > 0.0 and f.shift < f.cutoff == 5.0 for f in functions)


def test_functions_that_hardly_vary_are_left_out():
    """In dimers there are no angles."""
    dimers = [graph_from_atoms(Atoms("H2", positions=[[0, 0, 0], [0, 0, d]]), 5.0) for d in (0.7, 0.9, 1.4, 2.5)]
    lines = generate_functions([1], 5.0, 6, 2, "polynomial", dimers)
    assert 0 < len(lines) <= 6
    assert all(line.startswith("G2") for line in lines)


def test_elements_without_neighbors_keep_usual_functions():
    lonely = [graph_from_atoms(Atoms("HHe", positions=[[0, 0, 0], [20, 0, 0]]), 4.0)]
    functions = [parse_function(line) for line in generate_functions([1, 2], 4.0, 3, 1, "cosine", lonely)]
    assert {f.center for f in functions} == {1, 2}
    assert len(functions) == 2 * (2 * 3 + 3 * 6)


def test_lines_are_unique_and_repeatable():
    graphs = [rattled_salt(0)]
    lines = generate_functions([11, 17], 5.0, 4, 2, "polynomial", graphs)
    assert len(set(lines)) == len(lines)
    assert lines == generate_functions([11, 17], 5.0, 4, 2, "polynomial", graphs)


def test_the_number_of_functions_of_all_elements_does_not_grow_with_these():
    numbers = {}
    for kind in DESCRIPTORS:
        for elements in ([3], [3, 8], [3, 8, 15], [3, 8, 15, 16], [3, 8, 15, 16, 32]):
            lines = generate_functions(elements, 5.0, 6, 2, "polynomial", descriptors=kind)
            numbers[kind, len(elements)] = len(lines) // (1 if kind in MOMENTS else len(elements))
            assert sum(count_generated(len(elements), 6, 2, kind).values()) == numbers[kind, len(elements)]
    assert [numbers["weighted", n] for n in range(1, 6)] == [6 + 2 * 6] * 5
    for kind in MOMENTS:
        assert [numbers[kind, n] for n in range(1, 6)] == [6 * 5 + 2 * 15 * 3] * 5
    expected = [6 * min(n, 4) + (1 if n == 1 else 3) * 2 * N_ORDERS for n in range(1, 6)]
    assert [numbers["chebyshev", n] for n in range(1, 6)] == expected
    assert numbers["narrow", 5] == numbers["pairwise", 5]
    assert [numbers["pairwise", n] for n in range(1, 6)] == [6 * n + 12 * n * (n + 1) // 2 for n in range(1, 6)]


def test_unknown_descriptors_are_refused():
    with pytest.raises(ConfigError, match=r"descriptors='weigthed'.*did you mean 'weighted'"):
        generate_functions([14], 5.0, 3, 1, "polynomial", descriptors="weigthed")


def test_narrow_functions_are_centered_at_the_atom_with_widths_up_to_the_cutoff():
    lines = generate_functions([11, 17], 5.0, 4, 3, "cosine", [rattled_salt(0)], descriptors="narrow")
    functions = [parse_function(line) for line in lines]
    assert count_generated(2, 4, 3, "narrow") == {"G2": 2 * 4, "G4": 3 * 3 * 6}
    assert {f.kind for f in functions} == {"G2", "G4"}
    assert all(f.shift == 0.0 for f in functions)
    for kind in ("G2", "G4"):
        widths = sorted({(2.0 * f.eta) ** -0.5 for f in functions if f.kind == kind and set(f.neighbors) == {17}})
        assert widths[-1] == pytest.approx(5.0, rel=1e-3)
        assert all(1.0 < width < 5.01 for width in widths)


def test_published_forms_have_the_numbers_that_are_asked_for():
    elements = [3, 15, 16, 32]
    assert count_generated(4, 50, 30, "chebyshev_angle") == {"zT2": 50, "zT3": 30}
    assert count_generated(4, 12, 6, "weighted_root") == {"wG2": 12, "zG4": 36}
    lines = generate_functions(elements, 6.0, 50, 30, "cosine", descriptors="chebyshev_angle")
    orders = {kind: [f.order for f in map(parse_function, lines) if f.kind == kind] for kind in ("zT2", "zT3")}
    assert orders == {"zT2": 4 * list(range(50)), "zT3": 4 * list(range(30))}


OF_ONE_CENTER = [word for word in (*DESCRIPTORS, *PUBLISHED_DESCRIPTORS) if word not in MOMENTS]


@pytest.mark.parametrize("words", list(permutations(OF_ONE_CENTER, 2)))
def test_mixtures_have_the_functions_of_both_each_once(words):
    graphs = [rattled_salt(0)]
    first, second = (generate_functions([11, 17], 5.0, 3, 2, "polynomial", graphs, word) for word in words)
    mixed = generate_functions([11, 17], 5.0, 3, 2, "polynomial", graphs, list(words))
    assert set(mixed) <= set(first) | set(second)
    assert len(mixed) == len(set(mixed))
    kept = DescriptorSet([11, 17], [parse_function(line) for line in mixed])
    assert {f.kind for f in kept.functions} == {line.split()[0] for line in first + second}
    assert sum(count_generated(2, 3, 2, words).values()) == len(without_graphs(*words)) / 2


def without_graphs(*words):
    return {line for word in words for line in generate_functions([11, 17], 5.0, 3, 2, "polynomial", descriptors=word)}


def test_the_same_word_twice_adds_nothing():
    lines = generate_functions([14], 5.0, 3, 2, "polynomial", descriptors=["weighted", "weighted"])
    assert lines == generate_functions([14], 5.0, 3, 2, "polynomial", descriptors="weighted")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["pairwise", "moments"], r"descriptors=\[pairwise,moments\].*take them out .* set model.descriptors=moments$"),
        (["pairwise", "narow"], "'narow' is unknown; did you mean 'narrow'"),
        ([], r"descriptors=\[\]: give one or more of pairwise, narrow"),
    ],
)
def test_impossible_mixtures_are_refused(words, message):
    for function in (generate_functions, count_generated):
        arguments = ([14], 5.0, 3, 1, "polynomial", ()) if function is generate_functions else (1, 3, 1)
        with pytest.raises(ConfigError, match=message):
            function(*arguments, words)


@pytest.mark.parametrize(("n_radial", "n_angular"), [(0, 0), (-1, 2), (3, -1)])
def test_impossible_numbers_are_refused(n_radial, n_angular):
    with pytest.raises(ConfigError, match="n_radial"):
        generate_functions([14], 5.0, n_radial, n_angular, "polynomial")

"""Symmetry functions as values."""

import dataclasses

import numpy as np
import pytest

from gnnpot.errors import ConfigError, DataError
from gnnpot.nn.symmetry_functions import (
    SymmetryFunction,
    from_n2p2_line,
    parse_function,
    sort_as_n2p2,
    to_n2p2_line,
)

G2 = SymmetryFunction("G2", 14, (14,), eta=0.123456789012345, cutoff=5.5, shift=1.1)
T3 = SymmetryFunction("T3", 8, (), eta=0.5, shift=1.5, cutoff=5.0, order=7)
G5 = SymmetryFunction("G5", 8, (8, 3), eta=0.5, cutoff=5.0, zeta=16.0, lambda_=-1, envelope="cosine")


@pytest.mark.parametrize(
    "function",
    [
        *(G2, G5, dataclasses.replace(G5, kind="G4", zeta=1.5), dataclasses.replace(G5, kind="wG5", neighbors=())),
        *(T3, dataclasses.replace(T3, kind="wT3", eta=0.0, shift=0.0), dataclasses.replace(T3, order=0)),
        SymmetryFunction("wT2", 8, (), eta=0.0, cutoff=5.0, order=3),
        SymmetryFunction("wT2", 8, (), eta=0.0, cutoff=5.0, order=3, power=3),
        SymmetryFunction("zT2", 8, (), eta=0.0, cutoff=5.0, order=49),
        dataclasses.replace(T3, kind="zT3"),
        dataclasses.replace(G5, kind="zG4", neighbors=()),
    ],
)
def test_print_and_parse_are_inverse(function):
    assert parse_function(str(function)) == function


def test_neighbor_elements_are_unordered():
    assert G5.neighbors == (3, 8)
    assert dataclasses.replace(G5, neighbors=(3, 8)) == G5


@pytest.mark.parametrize(
    "line",
    [
        "symfunction_short Si 2 Si 0.01 5.6691784 7.7478771",
        "symfunction_short O 3 H O 0.01 -1 4.0 12.0",
        "symfunction_short O 9 H H 0.2 1 1.0 12.0 3.5",
        "symfunction_short Si 12 0.01 5.5 10.0",
        "symfunction_short O 13 0.01 0.5 -1 4.0 12.0",
    ],
)
def test_n2p2_lines_round_trip(line):
    assert to_n2p2_line(from_n2p2_line(line)) == line


def test_n2p2_lengths_are_bohr():
    function = from_n2p2_line("symfunction_short Si 2 Si 0.5 2.0 10.0  # a comment")
    bohr = 0.529177210903
    assert function.cutoff == pytest.approx(10 * bohr)
    assert function.shift == pytest.approx(2 * bohr)
    assert function.eta == pytest.approx(0.5 / bohr**2)


def test_n2p2_order_is_that_of_scaling_data():
    lines = [f"symfunction_short Si 3 Si Si {e} {s} {z} 10.0" for e in (0.05, 0.01) for s in (1, -1) for z in (16, 2)]
    lines.append("symfunction_short Si 2 Si 0.9 0.0 10.0")
    ordered = [to_n2p2_line(f).split() for f in sort_as_n2p2([from_n2p2_line(line) for line in lines])]
    assert ordered[0][2] == "2"
    keys = [(float(w[5]), float(w[7]), int(w[6])) for w in ordered[1:]]
    assert keys == sorted(keys)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("G3 Si Si eta=1 cutoff=5 cosine", "G3.*known: G2, G4, G5, wG2"),
        ("wG2 Si Si eta=1 cutoff=5 cosine", "G4 and G5 have two, all other kinds none"),
        ("T2 Si Si order=1 cutoff=5 cosine", "all other kinds none"),
        ("T2 Si order=-1 cutoff=5 cosine", "order of T2, T3 and their weighted kinds is 0 or more"),
        ("T2 Si cutoff=5 cosine", "order.*Write for example.*'T3 O order=2"),
        ("wT2 Si order=1 power=0 cutoff=5 cosine", "power, 1 or more"),
        ("wT3 Si order=1 power=2 cutoff=5 cosine", "unknown power"),
        ("wT2 Si order=1 eta=1 cutoff=5 cosine", "neither eta nor shift"),
        ("zT2 Si order=1 shift=1 cutoff=5 cosine", "neither eta nor shift"),
        ("zT3 Si Si order=1 cutoff=5 cosine", "all other kinds none"),
        ("T3 Si order=1 zeta=2 cutoff=5 cosine", "order instead of zeta"),
        ("G2 Si Si order=1 eta=1 cutoff=5 cosine", "unknown order"),
        ("G2 Si Xy eta=1 cutoff=5 cosine", "Xy.*Write for example"),
        ("G2 Si Si eta=1 width=2 cutoff=5 cosine", "unknown width"),
        ("G2 Si Si eta=1 cosine", "cutoff"),
        ("G2 Si Si eta=1 cutoff=5 cosin", "did you mean 'cosine'"),
        ("G2 Si Si Si eta=1 cutoff=5 cosine", "G2 has one neighbor"),
        ("G5 Si Si Si eta=1 zeta=0.5 cutoff=5 cosine", "zeta must be at least 1"),
        ("G2 Si Si eta=-1 cutoff=5 cosine", "eta must not be negative"),
        ("", "no symmetry function"),
    ],
)
def test_wrong_lines_are_explained(line, message):
    with pytest.raises(ConfigError, match=message):
        parse_function(line)


@pytest.mark.parametrize("kind", ["zG4", "wG5"])
def test_what_n2p2_lacks_is_refused_by_name(kind):
    with pytest.raises(ConfigError, match=f"n2p2 has no {kind}"):
        to_n2p2_line(dataclasses.replace(G5, kind=kind, neighbors=()))


@pytest.mark.parametrize("line", ["symfunction_short Si 20 0.1 0.0 10.0", "cutoff_type 1", "symfunction_short Si 2 Si"])
def test_wrong_n2p2_lines_are_explained(line):
    with pytest.raises(DataError, match="no symmetry function of n2p2"):
        from_n2p2_line(line)


def test_lists_of_functions_from_numpy_numbers():
    assert "numpy" not in str(SymmetryFunction("G2", 14, (14,), eta=float(np.float64(0.5)), cutoff=5.0))

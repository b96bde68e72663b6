"""Atom-centered symmetry functions as values: what they are, how they are written, how n2p2 writes them.

J. Behler and M. Parrinello, Phys. Rev. Lett. 98, 146401 (2007); J. Behler, J. Chem. Phys. 134, 074106 (2011).
For a center i, with g(r) = exp(-η (r - R_s)²) f_c(r)::

    G2 = Σ_j g(r_ij)
    G4 = 2^(1-ζ) Σ_{j<k} (1 + λ cos θ_ijk)^ζ g(r_ij) g(r_ik) g(r_jk)      "narrow"
    G5 = 2^(1-ζ) Σ_{j<k} (1 + λ cos θ_ijk)^ζ g(r_ij) g(r_ik)              "wide"

j runs over the neighbors of one element, (j, k) over the unordered pairs of *edges* whose neighbors have the two
elements. The weighted functions wG2, wG4 and wG5 (Gastegger et al., J. Chem. Phys. 148, 241709 (2018)) run over the
neighbors of all elements at once, each term times the atomic numbers Z_j, or Z_j Z_k, of its neighbors::

    wG2 = Σ_j Z_j g(r_ij),   wG4, wG5 = 2^(1-ζ) Σ_{j<k} Z_j Z_k (1 + λ cos θ_ijk)^ζ g(r_ij) g(r_ik) [g(r_jk)]

so that their number does not grow with that of the elements. So do the Chebyshev functions (Artrith, Urban and Ceder,
Phys. Rev. B 96, 014112 (2017)), with T_a the Chebyshev polynomial of ``order`` a::

    T2 = Σ_j T_a(2 r_ij/r_c - 1) f_c(r_ij),         wT2 with each term times w_j^power
    T3 = Σ_{j<k} T_a(cos θ_ijk) g(r_ij) g(r_ik),    wT3 with each term times w_j w_k, sT3 times w_j + w_k

where w = ..., -2, -1, (0,) 1, 2, ... number the elements of the model (`element_weights`). T2, T3, wT2 and wT3 with
η = 0 and power 1 are the published ones. They cannot tell two neighbors of one element from two of the element with the
opposite weight: that is what sT3 is for, as higher powers are for more than two elements. With η and R_s a T3 knows at
which distance its angle is.

Settings that were published with a commercial code are repeated with its own functions, weighted by atomic numbers::

    zG4 = wG4 with √(Z_j Z_k) in place of Z_j Z_k
    zT2 = Σ_j Z_j T_a(2 r_ij/r_c - 1) f_c(r_ij)
    zT3 = Σ_{j<k} √(Z_j Z_k) T_a(2 θ_ijk/π - 1) g(r_ij) g(r_ik)

A zT3 is not smooth: as a function of the positions it has cusps at θ = 0 and π, where T3 has none. Within 1e-7 of them
θ counts as 0 or π and the derivative by it is taken as 0. It is for repeating those settings alone, and exempt from the
tests of smoothness.

Behler sums over ordered pairs, twice the value; n2p2 sums over j < k as here and calls G2, G4 and G5 type 2, 3 and 9,
and wG2 and wG4 type 12 and 13 (lengths in bohr). DScribe sums over j < k too, its G4 and G5 are these with R_s = 0.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

from ase.data import atomic_numbers, chemical_symbols

from gnnpot.errors import ConfigError, DataError, did_you_mean
from gnnpot.keys import ANGSTROM_PER_BOHR
from gnnpot.nn.radial import ENVELOPES

Kind = Literal["G2", "G4", "G5", "wG2", "wG4", "wG5", "T2", "wT2", "T3", "wT3", "sT3", "zG4", "zT2", "zT3"]

_N2P2_TYPE_OF_KIND: dict[Kind, int] = {"G2": 2, "G4": 3, "G5": 9, "wG2": 12, "wG4": 13}
_KIND_OF_N2P2_TYPE = {number: kind for kind, number in _N2P2_TYPE_OF_KIND.items()}
N2P2_ENVELOPES: dict[int, str] = {1: "cosine", 6: "polynomial"}
"""n2p2's ``cutoff_type`` (with ``cutoff_alpha`` 0) of the envelopes that exist here."""


@dataclass(frozen=True)
class SymmetryFunction:
    """One symmetry function of one center element; lengths in Å, ``eta`` in Å⁻².

    >>> print(SymmetryFunction("G5", center=8, neighbors=(3, 8), eta=0.5, cutoff=5.0, zeta=4.0, lambda_=-1))
    G5 O Li O eta=0.5 shift=0 zeta=4 lambda=-1 cutoff=5 polynomial

    Raises:
        ConfigError: a parameter outside its range; the message prints the function.
    """

    kind: Kind
    center: int
    neighbors: tuple[int, ...]
    eta: float
    cutoff: float
    shift: float = 0.0
    zeta: float = 1.0
    lambda_: int = 1
    envelope: str = "polynomial"
    order: int = 0
    power: int = 1

    def __post_init__(self) -> None:
        if self.kind not in get_args(Kind):
            raise ConfigError(f"symmetry function kind {self.kind!r} is unknown; known: {', '.join(get_args(Kind))}")
        if self.envelope not in ENVELOPES:
            raise ConfigError(f"envelope {self.envelope!r} of {self}; {did_you_mean(self.envelope, ENVELOPES)}")
        if len(self.neighbors) != (0 if self.is_of_all_elements else self.n_neighbors):
            raise ConfigError(f"{self}: G2 has one neighbor element, G4 and G5 have two, all other kinds none")
        object.__setattr__(self, "neighbors", tuple(sorted(self.neighbors)))
        numbers = (self.eta, self.cutoff, self.shift, self.zeta)
        if not all(math.isfinite(x) for x in numbers) or self.eta < 0.0 or self.cutoff <= 0.0:
            raise ConfigError(f"{self}: eta must not be negative, the cutoff positive, all numbers finite")
        if self.order < 0 or (self.order > 0 and not self.is_chebyshev):
            raise ConfigError(f"{self}: the order of T2, T3 and their weighted kinds is 0 or more; others have none")
        if self.power < 1 or (self.power > 1 and self.kind != "wT2"):
            raise ConfigError(f"{self}: wT2 alone has a power, 1 or more")
        if self.is_chebyshev and not self.is_angular and (self.eta != 0.0 or self.shift != 0.0):
            raise ConfigError(f"{self}: T2, wT2 and zT2 have neither eta nor shift")
        if self.is_chebyshev and (self.zeta != 1.0 or self.lambda_ != 1):
            raise ConfigError(f"{self}: it has an order instead of zeta and lambda")
        if self.is_angular and (self.zeta < 1.0 or self.lambda_ not in (-1, 1)):
            raise ConfigError(f"{self}: zeta must be at least 1 (else no force at 180°), lambda is 1 or -1")

    @property
    def is_angular(self) -> bool:
        """Whether it runs over pairs of neighbors."""
        return self.n_neighbors == 2

    @property
    def n_neighbors(self) -> int:
        """Neighbors in a term of the sum."""
        return 1 if self.kind.endswith("2") else 2

    @property
    def is_narrow(self) -> bool:
        """Whether r_jk counts (G4, wG4, zG4)."""
        return self.kind.endswith("G4")

    @property
    def is_weighted(self) -> bool:
        """Whether terms have weights that tell the elements of the neighbors."""
        return self.kind[0] in "wsz"

    @property
    def is_chebyshev(self) -> bool:
        """Whether it has a Chebyshev polynomial."""
        return "T" in self.kind

    @property
    def is_of_angle(self) -> bool:
        """Whether its polynomial is one of the angle itself (zT3) instead of its cosine."""
        return self.kind == "zT3"

    @property
    def is_of_all_elements(self) -> bool:
        """Whether it sums over the neighbors of all elements."""
        return self.is_weighted or self.is_chebyshev

    def weight(self, neighbors: tuple[int, ...], elements: Sequence[int]) -> float:
        """Factor of a term with neighbors of these atomic numbers, in a model of these elements."""
        if not self.is_weighted:
            return 1.0
        if self.kind[0] == "z":
            return float(math.prod(neighbors) ** (1.0 / len(neighbors)))
        if not self.is_chebyshev:
            return float(math.prod(neighbors))
        weights = element_weights(len(elements))
        own = [weights[elements.index(z)] for z in neighbors]
        return float(sum(own) if self.kind == "sT3" else math.prod(own) ** self.power)

    def __str__(self) -> str:
        """One line, which `parse_function` reads back exactly."""
        symbols = " ".join(chemical_symbols[z] for z in (self.center, *self.neighbors))
        numbers = "" if self.is_chebyshev and not self.eta else f" eta={_number(self.eta)} shift={_number(self.shift)}"
        if self.is_chebyshev:
            power = "" if self.power == 1 else f" power={self.power}"
            numbers = f" order={self.order}{power}{numbers}"
        elif self.is_angular:
            numbers += f" zeta={_number(self.zeta)} lambda={self.lambda_}"
        return f"{self.kind} {symbols}{numbers} cutoff={_number(self.cutoff)} {self.envelope}"


def element_weights(n_elements: int) -> tuple[int, ...]:
    """Weights w of wT2, wT3 and sT3 for the elements of a model, by ascending atomic number.

    >>> element_weights(4), element_weights(3)
    ((-2, -1, 1, 2), (-1, 0, 1))
    """
    half = n_elements // 2
    return tuple(w for w in range(-half, half + 1) if w != 0 or n_elements % 2)


def _number(value: float) -> str:
    return repr(int(value)) if float(value).is_integer() else repr(float(value))


def parse_function(line: str) -> SymmetryFunction:
    """Read the line that ``str(function)`` writes.

    >>> parse_function("G2 Si Si eta=4 shift=2.5 cutoff=6 cosine").shift
    2.5

    Raises:
        ConfigError: the line is no symmetry function; the message shows a right one.
    """
    words = line.split()
    try:
        kind, *symbols = [word for word in words[:-1] if "=" not in word]
        values = dict(word.split("=", 1) for word in words if "=" in word)
        center, *neighbors = [atomic_numbers[symbol] for symbol in symbols]
        is_chebyshev = "T" in kind
        return SymmetryFunction(
            kind=kind,  # type: ignore[arg-type]
            center=center,
            neighbors=tuple(neighbors),
            order=int(values.pop("order")) if is_chebyshev else 0,
            power=int(values.pop("power", "1")) if kind == "wT2" else 1,
            eta=float(values.pop("eta", "0") if is_chebyshev else values.pop("eta")),
            cutoff=float(values.pop("cutoff")),
            shift=float(values.pop("shift", "0")),
            zeta=float(values.pop("zeta", "1")),
            lambda_=int(values.pop("lambda", "1")),
            envelope=_expect_empty(values, words[-1]),
        )
    except (ValueError, KeyError, IndexError) as error:
        raise ConfigError(
            f"{line!r} is no symmetry function ({error}). Write for example "
            "'G2 Si Si eta=4 shift=2.5 cutoff=6 polynomial' or "
            "'G5 O Li O eta=0.5 shift=0 zeta=4 lambda=-1 cutoff=5 polynomial' or 'T3 O order=2 cutoff=5 polynomial' "
            "(Å, Å⁻²)"
        ) from error


def _expect_empty(values: dict[str, str], envelope: str) -> str:
    if values:
        raise ValueError(f"unknown {', '.join(values)}")
    return envelope


def from_n2p2_line(line: str, envelope: str = "cosine", length: float = ANGSTROM_PER_BOHR) -> SymmetryFunction:
    """Symmetry function of one ``symfunction_short`` line of n2p2's ``input.nn``, written in bohr or ``length`` (Å).

    Type 2: ``center 2 neighbor eta r_s r_c``; types 3 and 9: ``center 3 j k eta lambda zeta r_c [r_s]``; type 12:
    ``center 12 eta r_s r_c``; type 13: ``center 13 eta r_s lambda zeta r_c``.

    >>> print(from_n2p2_line("symfunction_short Si  3 Si Si 0.01 -1 4.0 10.0", envelope="cosine").kind)
    G4

    Raises:
        DataError: another type of function, or a malformed line.
    """
    words = line.split("#")[0].split()
    try:
        if words[0] != "symfunction_short":
            raise ValueError("it does not begin with symfunction_short")
        kind = _KIND_OF_N2P2_TYPE.get(int(words[2]))
        if kind is None:
            raise ValueError(f"type {words[2]} is not read; types 2, 3, 9, 12 and 13 are")
        n_neighbors = {"G2": 1, "G4": 2, "G5": 2}.get(kind, 0)
        center, *neighbors = [atomic_numbers[word] for word in (words[1], *words[3 : 3 + n_neighbors])]
        numbers = [float(word) for word in words[3 + n_neighbors :]]
        if kind in ("G2", "wG2"):
            (eta, shift, cutoff), lambda_, zeta = numbers, 1.0, 1.0
        elif kind == "wG4":
            eta, shift, lambda_, zeta, cutoff = numbers
        else:
            eta, lambda_, zeta, cutoff, shift = numbers if len(numbers) == 5 else [*numbers, 0.0]
        if lambda_ not in (-1.0, 1.0):
            raise ValueError(f"lambda is {lambda_:g}, and must be 1 or -1")
    except (ValueError, KeyError, IndexError) as error:
        raise DataError(f"{line.strip()!r} is no symmetry function of n2p2: {error}") from error
    return SymmetryFunction(
        kind,
        center,
        tuple(neighbors),
        eta=eta / length**2,
        cutoff=cutoff * length,
        shift=shift * length,
        zeta=zeta,
        lambda_=int(lambda_),
        envelope=envelope,
    )


def to_n2p2_line(function: SymmetryFunction) -> str:
    """``symfunction_short`` line of n2p2 (Å → bohr); the envelope goes into ``cutoff_type`` (`N2P2_ENVELOPES`).

    Raises:
        ConfigError: n2p2 has no such function.

    >>> to_n2p2_line(from_n2p2_line("symfunction_short Si 2 Si 0.01 5.5 10.0"))
    'symfunction_short Si 2 Si 0.01 5.5 10.0'
    """
    eta, cutoff, shift = _in_bohr(function)
    if function.kind not in _N2P2_TYPE_OF_KIND:
        raise ConfigError(f"n2p2 has no {function.kind} ('{function}'); it has {', '.join(_N2P2_TYPE_OF_KIND)}")
    head = f"symfunction_short {chemical_symbols[function.center]} {_N2P2_TYPE_OF_KIND[function.kind]}"
    head = " ".join([head, *(chemical_symbols[z] for z in function.neighbors)])
    if not function.is_angular:
        return f"{head} {eta} {shift} {cutoff}"
    if function.is_weighted:
        return f"{head} {eta} {shift} {function.lambda_} {function.zeta} {cutoff}"
    tail = f" {shift}" if function.shift else ""
    return f"{head} {eta} {function.lambda_} {function.zeta} {cutoff}{tail}"


def _rounded(value: float) -> float:
    """What is left of a number after a change of units and back: 15 digits."""
    return float(f"{value:.15g}")


def sort_as_n2p2(functions: list[SymmetryFunction]) -> list[SymmetryFunction]:
    """Order in which n2p2 numbers the functions in ``scaling.data`` and as inputs of its networks.

    By center, type, r_c, η, R_s, ζ, λ, neighbors.
    """
    return sorted(functions, key=_n2p2_key)


def _n2p2_key(function: SymmetryFunction) -> tuple[float, ...]:
    eta, cutoff, shift = _in_bohr(function)
    f = function
    return (f.center, _N2P2_TYPE_OF_KIND.get(f.kind, 99), cutoff, eta, shift, f.zeta, f.lambda_, *f.neighbors)


def _in_bohr(function: SymmetryFunction) -> tuple[float, float, float]:
    """η, r_c and R_s as n2p2 reads them: they must compare there as they do here."""
    eta = _rounded(function.eta * ANGSTROM_PER_BOHR**2)
    return eta, _rounded(function.cutoff / ANGSTROM_PER_BOHR), _rounded(function.shift / ANGSTROM_PER_BOHR)

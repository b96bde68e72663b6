"""Symmetry functions of every center and all neighbors at a cost linear in the number of neighbors.

With g(r) = exp(-η (r - R_s)²) f_c(r), fixed properties w of the elements (`gnnpot.nn.element_properties`) and P_l the
Legendre polynomial of ``order`` l::

    M2 = Σ_j w_a(j) g(r_ij)
    M3 = Σ_j Σ_k w_a(j) w_b(k) g_1(r_ij) g_2(r_ik) P_l(cos θ_jik)        (k = j among them)

g_1 and g_2 differ in R_s alone. With ``distances=by_element`` g(r) = exp(-η (u - R_s)²) f_c(r), u = r - R_i - R_j with
the covalent radii R: bonds of large and of small atoms then lie in the same shells. By the addition theorem the double
sum is a product of moments of the neighborhood,

    M3 = Σ_m A_1alm A_2blm,   A_nalm = Σ_j w_a(j) g_n(r_ij) Y_lm(r̂_ij),

the power spectrum (A. P. Bartók, R. Kondor and G. Csányi, Phys. Rev. B 87, 184115 (2013)) with elements told apart by a
few numbers. Neither the number of functions nor the cost grows with the number of elements.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations_with_replacement

from gnnpot.errors import ConfigError, did_you_mean
from gnnpot.nn.angular import HIGHEST_DEGREE
from gnnpot.nn.atom_sizes import BY_ELEMENT, is_by_element
from gnnpot.nn.element_properties import PROPERTIES
from gnnpot.nn.radial import ENVELOPES

KINDS = ("M2", "M3")

BY_ELEMENT_WORD = f"distances={BY_ELEMENT}"

REACH = 0.75
"""Where the last shell of generated M3 is, over the cutoff."""

DEEPEST_SHELL, SPHERES = -0.6, 2.0
"""Å, by element: the first shell, and what two covalent spheres take of the distance to the last one."""


@dataclass(frozen=True)
class MomentFunction:
    """One function of every center; lengths in Å, ``eta`` in Å⁻².

    >>> print(MomentFunction("M3", ("one", "radius"), (1.5, 2.5), eta=2.0, cutoff=5.0, order=2))
    M3 * one radius order=2 eta=2 shift=1.5,2.5 cutoff=5 polynomial

    Raises:
        ConfigError: a parameter outside its range; the message prints the function.
    """

    kind: str
    properties: tuple[str, ...]
    shifts: tuple[float, ...]
    eta: float
    cutoff: float
    order: int = 0
    envelope: str = "polynomial"
    by_element: bool = False

    def __post_init__(self) -> None:
        n = 1 if self.kind == "M2" else 2
        if self.kind not in KINDS or len(self.properties) != n or len(self.shifts) != n:
            raise ConfigError(f"{self}: M2 has one property and one shift, M3 two of each")
        for name in self.properties:
            if name not in PROPERTIES:
                raise ConfigError(f"{self}: {name!r} is no property of elements; {did_you_mean(name, PROPERTIES)}")
        if self.envelope not in ENVELOPES:
            raise ConfigError(f"envelope {self.envelope!r} of {self}; {did_you_mean(self.envelope, ENVELOPES)}")
        if not all(map(math.isfinite, (self.eta, self.cutoff, *self.shifts))) or self.eta < 0.0 or self.cutoff <= 0.0:
            raise ConfigError(f"{self}: eta must not be negative, the cutoff positive, all numbers finite")
        if not 0 <= self.order <= (HIGHEST_DEGREE if self.kind == "M3" else 0):
            raise ConfigError(f"{self}: the order of M3 is 0 to {HIGHEST_DEGREE}; M2 has none")

    def __str__(self) -> str:
        """One line, which `parse_moment_function` reads back exactly."""
        order = f" order={self.order}" if self.kind == "M3" else ""
        shifts = ",".join(_number(shift) for shift in self.shifts)
        numbers = f"eta={_number(self.eta)} shift={shifts} cutoff={_number(self.cutoff)}"
        numbers += f" {BY_ELEMENT_WORD}" if self.by_element else ""
        return f"{self.kind} * {' '.join(self.properties)}{order} {numbers} {self.envelope}"


def _number(value: float) -> str:
    return repr(int(value)) if float(value).is_integer() else repr(float(value))


def is_moment_function(line: str) -> bool:
    """Whether a line of ``model.functions`` is about every center.

    >>> is_moment_function("M2 * radius eta=4 shift=2.5 cutoff=6 polynomial")
    True
    """
    words = line.split()
    return words[:1] in (["M2"], ["M3"]) or words[1:2] == ["*"]


def parse_moment_function(line: str) -> MomentFunction:
    """Read the line that ``str(function)`` writes.

    >>> parse_moment_function("M2 * radius eta=4 shift=2.5 cutoff=6 polynomial").shifts
    (2.5,)

    Raises:
        ConfigError: the line is no such function; the message shows a right one.
    """
    words = line.split()
    try:
        kind, center, *properties = [word for word in words[:-1] if "=" not in word]
        values = dict(word.split("=", 1) for word in words if "=" in word)
        if kind not in KINDS or center != "*":
            raise ValueError("functions of every center, '*', are M2 and M3")
        shifts = tuple(float(shift) for shift in values.pop("shift").split(","))
        numbers = {name: float(values.pop(name)) for name in ("eta", "cutoff")}
        order = int(values.pop("order", "0"))
        by_element = is_by_element("functions: distances", values.pop("distances", "shared"))
        if values:
            raise ValueError(f"unknown {', '.join(values)}")
        return MomentFunction(
            kind, tuple(properties), shifts, **numbers, order=order, envelope=words[-1], by_element=by_element
        )
    except (ValueError, KeyError, IndexError) as error:
        raise ConfigError(
            f"{line!r} is no symmetry function of every center ({error}). Write for example "
            "'M2 * radius eta=4 shift=2.5 cutoff=6 polynomial' or "
            "'M3 * one radius order=2 eta=2 shift=1.5,2.5 cutoff=6 polynomial' (Å, Å⁻²)"
        ) from error


def moment_grid(
    start: float, cutoff: float, n_radial: int, n_angular: int, envelope: str, by_element: bool = False
) -> list[MomentFunction]:
    """M2 of every property in ``n_radial`` shells, M3 of every two in ``n_angular``, of order 1 and more.

    Shells are equally spaced from ``start`` (Å), η = 1/(2 Δ²) with Δ their spacing; those of M2 towards the cutoff, the
    last of M3 at three quarters of it, beyond which the product of two envelopes leaves nothing. ``by_element`` they
    begin 0.6 Å within the touch of the covalent spheres, and end 2 Å before.
    """
    spheres = SPHERES if by_element else 0.0
    start = DEEPEST_SHELL if by_element else start
    found: list[MomentFunction] = []
    for kind, n, end in (("M2", n_radial, cutoff - spheres), ("M3", n_angular, REACH * cutoff - spheres)):
        spacing = (end - start) / max(n if kind == "M2" else n - 1, 1)
        eta = float(f"{0.5 / spacing**2:.4g}")
        shells = [round(start + k * spacing, 3) for k in range(n)]
        for shift in shells:
            found += _of_shell(kind, shift, eta, cutoff, envelope, by_element)
    return found


def _of_shell(
    kind: str, shift: float, eta: float, cutoff: float, envelope: str, by_element: bool
) -> Sequence[MomentFunction]:
    if kind == "M2":
        return [MomentFunction(kind, (name,), (shift,), eta, cutoff, 0, envelope, by_element) for name in PROPERTIES]
    return [
        MomentFunction(kind, pair, (shift, shift), eta, cutoff, order, envelope, by_element)
        for pair in combinations_with_replacement(PROPERTIES, 2)
        for order in range(1, HIGHEST_DEGREE + 1)
    ]

"""Chemical elements: by name, and by kinship in the periodic table."""

from collections.abc import Iterable, Sequence
from typing import TypeAlias

from ase.data import atomic_numbers, chemical_symbols

from gnnpot.errors import ConfigError, did_you_mean

NOBLE_GASES = (0, 2, 10, 18, 36, 54, 86, 118)
"""Atomic numbers at which periods end."""

Elements: TypeAlias = Sequence[int | str] | None
"""Symbols or atomic numbers; None in a configuration: those of the training data."""


def parse_elements(elements: Elements) -> tuple[int, ...]:
    """Atomic numbers, ascending, from numbers or symbols.

    >>> parse_elements(["O", "Li"])
    (3, 8)

    Raises:
        ConfigError: a name that is no element, or nothing given.
    """
    if not elements:
        raise ConfigError("model.elements is empty: give symbols, as model.elements=[Li,O], or leave it to `fit`")
    numbers = set()
    for element in elements:
        if isinstance(element, str):
            if element not in atomic_numbers or element == "X":
                hint = did_you_mean(element, chemical_symbols[1:])
                raise ConfigError(f"model.elements: {element!r} is no element; {hint}")
            numbers.add(atomic_numbers[element])
        elif 1 <= int(element) < len(chemical_symbols):
            numbers.add(int(element))
        else:
            raise ConfigError(f"model.elements: {element} is no atomic number")
    return tuple(sorted(numbers))


def group_of(number: int) -> int:
    """Group 1 to 18 of the periodic table; from 19 on one number for each pair of lanthanide and actinide.

    >>> [group_of(z) for z in (1, 2, 14, 26, 44, 71)], group_of(58) == group_of(90) > 18
    ([1, 18, 14, 8, 8, 3], True)
    """
    end = next(z for z in NOBLE_GASES if number <= z)
    begin = NOBLE_GASES[NOBLE_GASES.index(end) - 1]
    if end - number > 0 and number - begin <= 2:
        return number - begin
    return 18 - (end - number) if end - number <= 15 else 3 + end - number


def analogue(number: int, known: Iterable[int]) -> int:
    """The known element nearest to one: of its group if there is any, else by atomic number.

    >>> analogue(44, [8, 26, 45]), analogue(44, [8, 45]), analogue(8, [8, 16])
    (26, 45, 8)
    """
    candidates = sorted(known)
    kin = [z for z in candidates if group_of(z) == group_of(number)]
    return min(kin or candidates, key=lambda z: abs(z - number))

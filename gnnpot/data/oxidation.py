"""Oxidation numbers of the elements of a data set, guessed from its formulas."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping


def oxidation_numbers(compositions: Iterable[Mapping[str, int]]) -> dict[str, float]:
    """The oxidation number that each element takes most often, guessed by pymatgen from the formulas.

    Formulas that cannot be balanced (metals, elements, charged cells) have no say; an element without any guess gets 0.

    Args:
        compositions: {symbol: number of atoms} of each structure.

    >>> oxidation_numbers([{"Si": 24, "O": 48}])
    {'O': -2.0, 'Si': 4.0}
    """
    from pymatgen.core import Composition

    votes: dict[str, Counter[float]] = defaultdict(Counter)
    elements: set[str] = set()
    for formula in {Composition(dict(composition)).reduced_composition for composition in compositions}:
        elements.update(element.symbol for element in formula.elements)
        guesses = formula.oxi_state_guesses(max_sites=-1)
        for symbol, number in guesses[0].items() if guesses else ():
            votes[symbol][float(round(number))] += 1
    return {
        symbol: max(votes[symbol], key=lambda q: (votes[symbol][q], -abs(q))) if votes[symbol] else 0.0
        for symbol in sorted(elements)
    }

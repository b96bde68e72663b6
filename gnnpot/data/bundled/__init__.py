"""First-principles data that ship with gnnpot, so that ``gnnpot fit`` works with no argument.

``Li2O`` (the default, a lithium-ion conductor) and ``MgO``; each has a card, ``<name>.md``, beside it.
"""

from pathlib import Path


def bundled_names() -> list[str]:
    """Names of the bundled data sets.

    >>> bundled_names()
    ['Li2O', 'MgO']
    """
    return sorted(path.name.removesuffix(".xyz.gz") for path in Path(__file__).parent.glob("*.xyz.gz"))


def bundled_path(name: str) -> Path | None:
    """File of a bundled data set; None where there is none, or where a file of the user's own has that name.

    >>> bundled_path("Li2O").name
    'Li2O.xyz.gz'
    """
    if name not in bundled_names() or Path(name).exists():
        return None
    return Path(__file__).parent / f"{name}.xyz.gz"

"""Numbers and names as people read them: significant digits, durations, titles of the parts of a data set."""

import math
import unicodedata

PART_TITLES = {"train": "training", "val": "validation", "test": "test"}
MISSING = "–"


def significant(value: float | None, digits: int = 3) -> str:
    """Value with a number of significant digits, without an exponent where one is not needed.

    >>> [significant(v) for v in (0.8124, 12.345, 1234.5, 9.999, 0.0, 0.0000123, None)]
    ['0.812', '12.3', '1,234', '10.0', '0', '1.23e-05', '–']
    """
    if value is None or not math.isfinite(value):
        return MISSING
    if value == 0:
        return "0"
    exponent = int(f"{value:.{digits - 1}e}".rpartition("e")[2])
    if exponent < -4 or exponent > 6:
        text = f"{value:.{digits - 1}e}"
    else:
        text = f"{value:,.{max(0, digits - 1 - exponent)}f}"
    return f"−{text[1:]}" if value < 0 else text


def duration(seconds: float) -> str:
    """Time span in the units that a person would say it in.

    >>> [duration(s) for s in (0, 0.0421, 12.34, 150, 3900, 200000)]
    ['0 s', '42.1 ms', '12.3 s', '2 min 30 s', '1 h 05 min', '2 d 07 h']
    """
    if not math.isfinite(seconds):
        return MISSING
    if 0 < seconds < 1:
        return f"{significant(seconds * 1000)} ms"
    if seconds < 60:
        return f"{significant(seconds)} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest:02d} s"
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02d} min" if hours < 48 else f"{hours // 24} d {hours % 24:02d} h"


def part_title(part: str) -> str:
    """Title of a part of the data: ``val`` is read as validation, a name of one's own as itself.

    >>> part_title("val"), part_title("slabs")
    ('validation', 'slabs')
    """
    return PART_TITLES.get(part, part)


def printable(text: str) -> str:
    """Text without control characters, which a terminal would obey and a page would swallow.

    >>> printable("bulk\\x1b[2J")
    'bulk�[2J'
    """
    return "".join("\ufffd" if unicodedata.category(c) in ("Cc", "Cf", "Cs") else c for c in text)

"""What a report is made of: a page of sections, a section of tables, figures, cards, text and listings.

The values know nothing of models or metrics, so that every report (training, benchmark, ...) is built from them.
A table renders to the terminal (`gnnpot.report.terminal`), to Markdown and to HTML; a page to one self-contained HTML
file that loads nothing from elsewhere.
"""

import base64
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from gnnpot.data.files import replacing
from gnnpot.report.formatting import printable

if TYPE_CHECKING:
    import jinja2


@dataclass(frozen=True)
class Column:
    """One column of a table; columns side by side with the same `group` share a heading."""

    title: str
    group: str = ""
    is_number: bool = True


@dataclass(frozen=True)
class Table:
    """Rows of text under titled columns.

    >>> print(Table((Column("model", is_number=False), Column("MAE", "test")), (("SchNet", "1.2"),)).markdown())
    | model | test MAE |
    |:---|---:|
    | SchNet | 1.2 |
    """

    kind: ClassVar[str] = "table"
    columns: tuple[Column, ...]
    rows: tuple[tuple[str, ...], ...]
    title: str = ""
    caption: str = ""

    @property
    def groups(self) -> tuple[tuple[str, int], ...]:
        """Group headings with the number of columns that each spans, from left to right."""
        spans: list[tuple[str, int]] = []
        for column in self.columns:
            if spans and spans[-1][0] == column.group and column.group:
                spans[-1] = (column.group, spans[-1][1] + 1)
            else:
                spans.append((column.group, 1))
        return tuple(spans)

    def markdown(self) -> str:
        """The table as GitHub shows it."""

        def line(cells: Sequence[str]) -> str:
            return "| " + " | ".join(re.sub(r"([|\\`*_<>\[\]])", r"\\\1", printable(c)) for c in cells) + " |"

        rule = "|" + "|".join("---:" if column.is_number else ":---" for column in self.columns) + "|"
        header = line([f"{column.group} {column.title}".strip() for column in self.columns])
        return "\n".join([header, rule, *(line(row) for row in self.rows)])


@dataclass(frozen=True)
class Figure:
    """One picture: SVG or PNG bytes, what it shows in words (for those who cannot see it), a caption."""

    kind: ClassVar[str] = "figure"
    image: bytes
    media_type: str
    description: str
    caption: str = ""

    @property
    def data_uri(self) -> str:
        """The image as an address that contains it."""
        return f"data:{self.media_type};base64,{base64.b64encode(self.image).decode('ascii')}"


@dataclass(frozen=True)
class Gallery:
    """Figures that stand side by side where there is room, and below each other on a phone."""

    kind: ClassVar[str] = "gallery"
    figures: tuple[Figure, ...]
    title: str = ""
    caption: str = ""


@dataclass(frozen=True)
class Card:
    """One figure to be read first: a label, a value, its unit, a remark."""

    label: str
    value: str
    unit: str = ""
    remark: str = ""


@dataclass(frozen=True)
class Cards:
    """A row of cards."""

    kind: ClassVar[str] = "cards"
    cards: tuple[Card, ...]


@dataclass(frozen=True)
class Text:
    """A paragraph."""

    kind: ClassVar[str] = "text"
    text: str


@dataclass(frozen=True)
class Listing:
    """Preformatted text, as a configuration."""

    kind: ClassVar[str] = "listing"
    text: str


@dataclass(frozen=True)
class Folded:
    """Blocks that the reader unfolds."""

    kind: ClassVar[str] = "folded"
    title: str
    blocks: tuple["Block", ...]


Block = Table | Figure | Gallery | Cards | Text | Listing | Folded


@dataclass(frozen=True)
class Section:
    """Blocks under a title."""

    title: str
    blocks: tuple[Block, ...]

    @property
    def anchor(self) -> str:
        """Name by which a link inside the page reaches the section."""
        return re.sub(r"[^a-z0-9]+", "-", self.title.lower()).strip("-")


@dataclass(frozen=True)
class Page:
    """A report: title, one sentence that says the result, sections."""

    title: str
    lead: str
    sections: tuple[Section, ...]
    footer: str = ""

    def html(self) -> str:
        """The page as one HTML document; every text is escaped, nothing is loaded from elsewhere.

        >>> "&lt;b&gt;" in Page("<b>", "", ()).html()
        True
        """
        return _environment().get_template("page.html.jinja").render(page=self, style=_template("style.css"))

    def write(self, path: str | Path) -> Path:
        """Write the HTML document, whole or not at all; returns its path."""
        path = Path(path)
        with replacing(path) as temporary:
            temporary.write_text(self.html(), encoding="utf-8")
        return path


@cache
def _environment() -> "jinja2.Environment":
    import jinja2

    environment = jinja2.Environment(
        loader=jinja2.DictLoader({"page.html.jinja": _template("page.html.jinja")}),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["printable"] = printable
    return environment


def _template(name: str) -> str:
    return files(__package__).joinpath("templates", name).read_text(encoding="utf-8")

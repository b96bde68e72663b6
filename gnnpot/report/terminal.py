"""What a person reads in the terminal: tables, whose columns of one group stand under one heading, and sentences."""

import rich.box
import rich.table
from rich.cells import cell_len
from rich.console import Console
from rich.text import Text

from gnnpot.report.formatting import printable
from gnnpot.report.page import Column, Table

MIN_TEXT_WIDTH = 12


def rich_table(table: Table) -> rich.table.Table:
    """The table as rich prints it; cells are taken literally, control characters are made visible.

    >>> import rich
    >>> rich_table(Table((Column("model", is_number=False), Column("MAE")), (("SchNet", "1.2"),))).row_count
    1
    """
    printed = rich.table.Table(
        title=Text(printable(table.title), style="bold") if table.title else None,
        caption=Text(printable(table.caption), style="dim") if table.caption else None,
        title_justify="left",
        caption_justify="left",
        box=rich.box.SIMPLE_HEAD,
        pad_edge=False,
        collapse_padding=True,
        show_header=any(column.title for column in table.columns),
    )
    columns_of_cells = []
    start = 0
    for group, n_columns in table.groups:
        columns = table.columns[start : start + n_columns]
        cells = [[printable(row[i]) for row in table.rows] for i in range(start, start + n_columns)]
        header, lines = _merged(group, columns, cells)
        is_text = not columns[0].is_number
        printed.add_column(
            Text(header),
            min_width=min(MIN_TEXT_WIDTH, max(map(cell_len, [*header.split(), *lines]), default=0))
            if is_text
            else None,
            justify="left" if is_text else "right",
            vertical="bottom",
            no_wrap=not is_text,
            overflow="fold" if is_text else "ellipsis",
        )
        columns_of_cells.append(lines)
        start += n_columns
    for row in zip(*columns_of_cells, strict=True):
        printed.add_row(*(Text(cell) for cell in row))
    return printed


def say(console: Console, text: str) -> None:
    """Print text as it stands: brackets are no markup, and a terminal breaks no line between two words.

    >>> say(Console(width=20), "written to runs/[b]a/report.html")
    written to runs/[b]a/report.html
    """
    lines = (printable(line) for line in text.split("\n"))
    console.print(Text("\n".join(lines)), soft_wrap=True)


def _merged(group: str, columns: tuple[Column, ...], cells: list[list[str]]) -> tuple[str, list[str]]:
    """Heading and lines of columns set side by side under the name of their group."""
    if not group:
        title = columns[0].title
        return title.replace(" ", "\n") if columns[0].is_number else title, cells[0]
    widths = [max(cell_len(x) for x in (column.title, *rows)) for column, rows in zip(columns, cells, strict=True)]
    titles = [column.title for column in columns]
    widths[0] += max(0, cell_len(group) - cell_len(_line(titles, widths)))
    lines = [_line(row, widths) for row in zip(*cells, strict=True)]
    header = _line(titles, widths)
    return f"{group.center(cell_len(header)).ljust(cell_len(header))}\n{header}", lines


def _line(cells: tuple[str, ...] | list[str], widths: list[int]) -> str:
    return "  ".join(" " * (width - cell_len(cell)) + cell for cell, width in zip(cells, widths, strict=True))

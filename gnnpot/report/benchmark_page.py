"""The report of a benchmark: one page (HTML) and one table text (Markdown), from ``benchmark.json`` alone."""

import base64
import binascii
import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from gnnpot._version import __version__
from gnnpot.data.files import replacing
from gnnpot.errors import DataError
from gnnpot.report.benchmark_procedure import procedure_sections
from gnnpot.report.benchmark_sections import data_sections, open_runs_section
from gnnpot.report.benchmark_tables import summary_sentences
from gnnpot.report.page import Block, Cards, Folded, Listing, Page, Table, Text
from gnnpot.report.parity import ParityData, load_parity

READABLE_VERSION = 1


def read_results(path: str | Path) -> dict[str, Any]:
    """Content of a ``benchmark.json``.

    Raises:
        DataError: not there, not such a file, or of a newer gnnpot.
    """
    path = Path(path)
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise DataError(
            f"{path} cannot be read as the results of a benchmark ({error}); run gnnpot benchmark output={path.parent}"
        ) from None
    if not isinstance(content, dict) or not {"cells", "data", "models"} <= content.keys():
        raise DataError(f"{path} is no file of results of gnnpot benchmark")
    if content.get("format_version", 0) > READABLE_VERSION:
        raise DataError(
            f"{path} has format version {content['format_version']}, this gnnpot {__version__} reads up to "
            f"{READABLE_VERSION}: update gnnpot"
        )
    return content


def write_pages(output: str | Path, results: Mapping[str, Any]) -> Path:
    """Write ``report.html`` and ``report.md`` into a folder; returns the path of the page."""
    output = Path(output)
    page = benchmark_page(results)
    with replacing(output / "report.md") as temporary:
        temporary.write_text(markdown_of(page), encoding="utf-8")
    return page.write(output / "report.html")


def benchmark_page(results: Mapping[str, Any]) -> Page:
    """The page that tells a benchmark."""
    names = list(results["data"])
    sections = [s for s in [open_runs_section(results)] if s is not None]
    for name in names:
        parts = _parts(results["parity"].get(name, {}))
        sections += data_sections(results, name, parts, f" ({name})" if len(names) > 1 else "")
    sections += procedure_sections(results)
    footer = (
        f"gnnpot {results['gnnpot']}. Energies in eV (errors in meV/atom), forces in eV/Å (errors in meV/Å), stress in "
        "GPa, tension positive. MAE: mean absolute error; RMSE: root mean square error; ±: standard error of the mean "
        "over seeds. Written from benchmark.json; `gnnpot benchmark output=DIR render=true` writes it again."
    )
    return Page(
        f"Which potential for {' and '.join(names)}?", " ".join(summary_sentences(results)), tuple(sections), footer
    )


def _parts(packed: Mapping[str, str]) -> dict[str, ParityData]:
    """Labels and predictions of each model, from the base64 text of a ``predictions.npz``."""
    found = {}
    with TemporaryDirectory() as folder:
        for model, text in packed.items():
            path = Path(folder) / "predictions.npz"
            try:
                path.write_bytes(base64.b64decode(text, validate=True))
            except (ValueError, binascii.Error) as error:
                raise DataError(f"benchmark.json: the predictions of {model} are damaged ({error})") from None
            found[model] = load_parity(path)["test"]
    return found


def markdown_of(page: Page) -> str:
    """Title, text and tables of a page as Markdown; figures stay in the page.

    >>> print(markdown_of(Page("Title", "Lead.", ())))
    # Title
    <BLANKLINE>
    Lead.
    <BLANKLINE>
    """
    lines = [f"# {page.title}", "", page.lead, ""]
    for section in page.sections:
        blocks = list(_markdown_blocks(section.blocks))
        if blocks:
            lines += [f"## {section.title}", "", *(line for block in blocks for line in (block, ""))]
    return "\n".join([*lines, *([page.footer, ""] if page.footer else [])])


def _markdown_blocks(blocks: Sequence[Block]) -> Iterable[str]:
    for block in blocks:
        if isinstance(block, Table):
            yield "\n\n".join([*([f"### {block.title}"] if block.title else []), block.markdown()])
            if block.caption:
                yield block.caption
        elif isinstance(block, Text):
            yield block.text
        elif isinstance(block, Listing):
            yield f"```\n{block.text}\n```"
        elif isinstance(block, Cards):
            yield "\n".join(f"- {c.label}: **{c.value}{f' {c.unit}' if c.unit else ''}**" for c in block.cards)
        elif isinstance(block, Folded):
            inner = list(_markdown_blocks(block.blocks))
            if inner:
                yield f"### {block.title}"
                yield from inner

"""How figures look: colors, type, a canvas without global state."""

import io
import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import matplotlib
import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure as Canvas
from matplotlib.ticker import FixedLocator, FuncFormatter, NullFormatter, NullLocator
from numpy.typing import NDArray

from gnnpot.report import page

INK, MUTED, LINE = "#1b2430", "#5a6676", "#dde2e9"
PALE = "#9cc4e6"
PART_COLORS = {"train": "#8290a3", "val": "#d17a00", "test": "#0b5fa5"}
"""Apart in hue and in lightness, so that they stay apart in print and for the color blind."""

SERIES_COLORS = ("#0b5fa5", "#d17a00", "#00806a", "#b3347a", "#5a4fb5", "#7d6a1f", "#4a9fd6")
DENSITY = LinearSegmentedColormap.from_list("density", ["#b5d5ef", "#7db5e0", "#3d8ccb", "#0b5fa5", "#08305c"])

SETTINGS: dict[str, Any] = {
    "font.family": "DejaVu Sans",
    "font.size": 9,
    "text.color": INK,
    "text.parse_math": False,
    "axes.edgecolor": "#8290a3",
    "axes.labelcolor": INK,
    "axes.linewidth": 0.8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlesize": 10,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.titlepad": 9,
    "axes.labelsize": 9,
    "axes.axisbelow": True,
    "axes.grid": True,
    "axes.unicode_minus": True,
    "grid.color": LINE,
    "grid.linewidth": 0.7,
    "xtick.color": "#8290a3",
    "ytick.color": "#8290a3",
    "xtick.labelcolor": MUTED,
    "ytick.labelcolor": MUTED,
    "xtick.labelsize": 8.5,
    "ytick.labelsize": 8.5,
    "legend.frameon": False,
    "legend.fontsize": 8.5,
    "legend.handlelength": 1.4,
    "lines.linewidth": 1.6,
    "lines.solid_capstyle": "round",
    "savefig.facecolor": "white",
    "svg.fonttype": "path",
    "svg.hashsalt": "gnnpot",
}


@dataclass
class Drawing:
    """A canvas being drawn on; `figure` is set once it is finished."""

    canvas: Canvas
    description: str
    caption: str = ""
    finished: page.Figure | None = None

    @property
    def figure(self) -> page.Figure:
        """The finished figure."""
        if self.finished is None:
            raise RuntimeError("the figure is available after the `with` block that draws it")
        return self.finished


@contextmanager
def drawing(width: float, height: float, description: str, caption: str = "") -> Iterator[Drawing]:
    """Canvas of a size in inches, in the style of the house, saved as SVG when the block ends.

    The margins are the same for all, so that axes side by side on a page line up.

    >>> with drawing(3, 2, "an empty figure") as d:
    ...     _ = d.canvas.add_subplot()
    >>> d.figure.media_type
    'image/svg+xml'
    """
    with matplotlib.rc_context(SETTINGS):
        canvas = Canvas(figsize=(width, height))
        canvas.subplots_adjust(0.7 / width, 0.5 / height, 1 - 0.2 / width, 1 - 0.36 / height, hspace=0.1)
        FigureCanvasAgg(canvas)
        draft = Drawing(canvas, description, caption)
        yield draft
        stream = io.BytesIO()
        canvas.savefig(stream, format="svg", dpi=170, metadata={"Date": None, "Creator": "gnnpot"})
    draft.finished = page.Figure(stream.getvalue(), "image/svg+xml", draft.description, draft.caption)


def plain_log_ticks(axis: Any, low: float, high: float) -> None:
    """Ticks of a logarithmic axis at round numbers: the closer, the fewer decades it spans."""
    axis.set_major_locator(FixedLocator(log_ticks(low, high)))
    axis.set_major_formatter(FuncFormatter(lambda value, _: tick_text(value, low < 9e-4)))
    axis.set_minor_locator(NullLocator())
    axis.set_minor_formatter(NullFormatter())


def log_ticks(low: float, high: float) -> list[float]:
    """Round numbers between (and just outside) two positive values.

    >>> log_ticks(0.9, 12.0)
    [0.5, 1.0, 2.0, 5.0, 10.0, 20.0]
    """
    ratio = high / low
    multiples = (1.0,) if ratio > 200 else (1.0, 2.0, 5.0) if ratio > 8 else (1.0, 1.5, 2.0, 3.0, 4.0, 5.0, 7.0)
    decades = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    step = 1 + len(decades) // 9
    ticks = [float(f"{multiple}e{decade}") for decade in decades[::step] for multiple in multiples]
    return [tick for tick in ticks if low / 2 <= tick <= 2 * high]


def tick_text(value: float, is_small: bool) -> str:
    """A number on an axis; powers of ten where the axis reaches very small values.

    >>> tick_text(1e-4, True), tick_text(0.0015, False), tick_text(2e-3, True), tick_text(50, True)
    ('1e-4', '0.0015', '2e-3', '50')
    """
    if (is_small and value < 9e-3) or value >= 1e6:
        mantissa, _, exponent = f"{value:.1e}".partition("e")
        return f"{mantissa.removesuffix('.0')}e{int(exponent)}"
    return f"{value:.10g}"


def thinned(
    x: NDArray[np.float64], y: NDArray[np.float64], n_most: int, n_bins: int = 120
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Points of a cloud that are worth drawing, and how dense the cloud is there, the dense ones last.

    The plane is cut into cells, and no cell shows more points than another unless there is room for `n_most` in all:
    dense regions are thinned (color tells their density), and no outlier is lost.

    Returns indices (n_drawn,) and the logarithm of the points per cell, scaled to 0 to 1, (n_drawn,).

    >>> drawn, density = thinned(np.array([0.0, 0.0, 0.0, 9.0]), np.zeros(4), n_most=2)
    >>> drawn.tolist(), density.round(1).tolist()
    ([3, 0], [0.0, 1.0])
    """
    cell = _bin(x, n_bins) * n_bins + _bin(y, n_bins)
    counts = np.bincount(cell)
    order = np.argsort(cell, kind="stable")
    rank = np.empty_like(order)
    rank[order] = np.arange(len(order)) - (np.cumsum(counts) - counts)[cell[order]]
    if len(x) > n_most:
        drawn = np.flatnonzero(rank < max(1, int(np.partition(rank, n_most)[n_most])))
    else:
        drawn = np.arange(len(x))
    logarithm = np.log(counts[cell[drawn]])
    by_density = np.argsort(logarithm, kind="stable")
    return drawn[by_density], logarithm[by_density] / max(float(logarithm.max()), 1.0)


def _bin(values: NDArray[np.float64], n_bins: int) -> NDArray[np.int64]:
    low, high = float(values.min()), float(values.max())
    return np.minimum((values - low) * (n_bins / ((high - low) or 1.0)), n_bins - 1).astype(np.int64)

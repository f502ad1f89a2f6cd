"""The look that all plots share. Matplotlib's objects only: no pyplot, so no global state.

Matplotlib takes half a second to import, so it is imported where a figure is made.
"""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from trainwright.report.letters import fonts_of, spelled
from trainwright.report.plots.grid import save_image

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

DOTS_PER_INCH = 144  # sharp on a dense screen, and a 9 inch figure is still 1,300 pixels wide
MAX_KEYS_A_LINE = 3
INK = "#333333"
GRID = "#e4e4e4"
# Okabe and Ito's colours, which stay apart for colour-blind readers.
PALETTE = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#555555")
# Ten classes have more lines than that palette has colours: Tableau's ten.
CLASS_PALETTE = (
    "#4e79a7", "#f28e2b", "#e15759", "#76b7b2", "#59a14f",
    "#edc948", "#b07aa1", "#ff9da7", "#9c755f", "#bab0ac",
)  # fmt: skip


def new_figure(width: float, height: float) -> "Figure":
    """Return an empty white figure of `width` x `height` inches that lays itself out."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.layout_engine import ConstrainedLayoutEngine

    figure = Figure(
        figsize=(width, height),
        dpi=DOTS_PER_INCH,
        facecolor="white",
        layout=ConstrainedLayoutEngine(w_pad=0.08, h_pad=0.08),  # inches
    )
    FigureCanvasAgg(figure)  # the figure keeps it as figure.canvas
    return figure


def new_panels(
    number: int, *, columns: int, size: tuple[float, float]
) -> tuple["Figure", list["Axes"]]:
    """Return a new figure with so many axes, row by row; `size`: the inches of each."""
    rows = math.ceil(number / columns)
    figure = new_figure(size[0] * columns, size[1] * rows)
    return figure, [figure.add_subplot(rows, columns, place + 1) for place in range(number)]


def style(axes: "Axes", *, title: str = "", xlabel: str = "", ylabel: str = "") -> None:
    """Give axes the common look: light grid behind the data, no box, small grey labels."""
    axes.set_title(title, fontsize=10, color=INK, loc="left")
    axes.set_xlabel(xlabel, fontsize=8.5, color=INK)
    axes.set_ylabel(ylabel, fontsize=8.5, color=INK)
    axes.tick_params(which="both", labelsize=8, colors=INK, length=0)
    axes.grid(True, color=GRID, linewidth=0.7)
    axes.set_axisbelow(True)
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.spines["bottom"].set_color("#999999")


def number(value: float, _place: float) -> str:
    """Write a tick's number out, so that no common factor stands apart where the key goes."""
    return f"{value:,.6g}" if abs(value) >= 1e-4 else f"{value:.3g}"


def value_axis(axes: "Axes", values: Sequence[float], *, log_from: float) -> None:
    """Scale the y axis by logarithm where positive values are a factor of `log_from` apart."""
    if min(values) > 0 and max(values) > log_from * min(values):
        axes.set_yscale("log")
    else:
        axes.yaxis.set_major_formatter(number)


def key_above(axes: "Axes") -> None:
    """Name the labelled curves in a line or two between title and axes, where they hide no data.

    Call it after `style`. (The legend's own search for a free place inside is slow on long
    curves, and warns about it.)
    """
    handles, names = axes.get_legend_handles_labels()
    if names:
        num_columns = len(names) if len(names) <= MAX_KEYS_A_LINE else 2
        num_lines = math.ceil(len(names) / num_columns)
        title = axes.get_title(loc="left")
        axes.set_title(title, loc="left", fontsize=10, color=INK, pad=5 + 13 * num_lines)
        axes.legend(
            handles,
            names,
            loc="lower left",
            bbox_to_anchor=(0, 1.01),
            ncols=num_columns,
            borderaxespad=0,
            borderpad=0.2,
            columnspacing=1.2,
            handlelength=1.2,
            handletextpad=0.5,
            fontsize=8,
            labelcolor=INK,
            frameon=False,
        )


def save_figure(figure: "Figure", path: str | Path) -> None:
    """Draw a figure of `new_figure` and write it atomically. Raises OSError."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    canvas = figure.canvas
    assert isinstance(canvas, FigureCanvasAgg)
    _take_names_as_they_are(figure)
    canvas.draw()  # type: ignore[no-untyped-call]  # matplotlib has no types for it
    pixels = np.asarray(canvas.buffer_rgba())  # type: ignore[no-untyped-call]  # nor for this
    save_image(Image.fromarray(pixels).convert("RGB"), path)


def _take_names_as_they_are(figure: "Figure") -> None:
    """A class may be called a_b, $1-$5 or 猫: no text is a formula, but for what axes write.

    Of what stands between two dollars Matplotlib would make one, or an error. Letters come in a
    font that has them.
    """
    from matplotlib.text import Text
    from matplotlib.ticker import FixedFormatter, FixedLocator

    own: set[Text] = set()
    names: list[str] = []
    for axes in figure.axes:
        for axis in (axes.xaxis, axes.yaxis):
            if isinstance(axis.get_major_locator(), FixedLocator):  # labels that we have set
                labels = [spelled(text.get_text()) for text in axis.get_ticklabels()]
                axis.set_major_formatter(FixedFormatter(labels))
                names += labels
            else:
                own |= {*axis.get_ticklabels(which="both"), axis.get_offset_text()}
    texts = [text for text in figure.findobj(Text) if isinstance(text, Text) and text not in own]
    for text in texts:
        text.set_parse_math(False)
        text.set_text(spelled(text.get_text()))
    names += [text.get_text() for text in texts]
    if not all(name.isascii() for name in names):
        families = [font.family for font in fonts_of(names)]
        for text in texts:
            text.set_fontfamily(families)

"""A process that draws plots: `python -m trainwright.report.artist`. No torch.

To import matplotlib takes half a second, and to draw with it as much again. Beside a run that
imports torch, and measures its test split, that takes nobody's time. It reads what to draw from
standard input, a line of JSON each, and ends with that, or when nothing has come for a minute.
"""

import gc
import json
import os
import signal
import sys
from collections.abc import Callable, Mapping
from typing import Any, TextIO

from trainwright.report.confusion import plot_confusion
from trainwright.report.curves import plot_curves, plot_learning_rate

SECONDS_TO_WAIT = 60  # then its memory is of more use elsewhere, and who waits may draw
PLOTS: Mapping[str, Callable[..., object]] = {
    plot.__name__: plot for plot in (plot_curves, plot_learning_rate, plot_confusion)
}


def draw(order: Mapping[str, Any]) -> None:
    """Draw a plot: its `plot` by name, and the `arguments` for that. Raises OSError."""
    PLOTS[order["plot"]](*order["arguments"])


def serve(orders: TextIO) -> None:
    """Draw what is ordered, to the end; die of SIGALRM where nothing comes."""
    signal.alarm(SECONDS_TO_WAIT)
    for line in orders:
        signal.alarm(0)
        draw(json.loads(line))
        signal.alarm(SECONDS_TO_WAIT)


def warm_up() -> None:
    """Import what draws, and read the fonts of plots."""
    import matplotlib.ticker  # noqa: F401

    from trainwright.report.figures import new_figure, style

    figure = new_figure(1, 1)
    style(figure.add_subplot(), title="0123456789", xlabel="step")
    figure.canvas.draw()


if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the run's business
    gc.disable()  # it makes little that would not stay
    warm_up()
    serve(sys.stdin)
    os._exit(0)  # all is drawn, and someone waits

"""A process that draws plots: `python -m trainwright.report.plots.artist`. No torch.

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

from trainwright.own_process import end_with_parent
from trainwright.report.plots.confusion import plot_confusion
from trainwright.report.plots.curves import plot_curves, plot_learning_rate
from trainwright.report.plots.scores import plot_logits, plot_scores

SECONDS_TO_WAIT = 60  # then its memory is of more use elsewhere, and who waits may draw
PLOTS: Mapping[str, Callable[..., object]] = {
    plot.__name__: plot
    for plot in (plot_curves, plot_learning_rate, plot_confusion, plot_logits, plot_scores)
}


def draw(order: Mapping[str, Any]) -> None:
    """Draw a plot, as a `Drawing` has it: by name, with its arguments. Raises OSError."""
    PLOTS[order["plot"]](*order["arguments"], **order["named"])


def serve(orders: TextIO) -> bool:
    """Draw what is ordered, to the end, and say whether all of it is there.

    Every plot is drawn by a process of its own, forked from this one, which has a single thread.
    Dies of SIGALRM where nothing comes.
    """
    drawing = []
    signal.alarm(SECONDS_TO_WAIT)
    for line in orders:
        signal.alarm(SECONDS_TO_WAIT)
        drawing.append(_forked(json.loads(line)))
    signal.alarm(0)
    statuses = [os.waitpid(pid, 0)[1] for pid in drawing]
    return not any(statuses)


def _forked(order: Mapping[str, Any]) -> int:
    """Draw a plot in a new process, which is returned."""
    pid = os.fork()
    if pid == 0:
        try:
            draw(order)
            os._exit(0)
        finally:
            os._exit(1)  # whatever happens: it must never go on as its parent
    return pid


def warm_up() -> None:
    """Import what draws, and read the fonts of plots."""
    import matplotlib.ticker  # noqa: F401

    from trainwright.report.plots.figures import new_figure, style

    figure = new_figure(1, 1)
    style(figure.add_subplot(), title="0123456789", xlabel="step")
    figure.canvas.draw()


if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the run's business
    end_with_parent()
    gc.disable()  # it makes little that would not stay
    warm_up()
    os._exit(0 if serve(sys.stdin) else 1)  # at once, for someone waits

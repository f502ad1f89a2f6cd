"""Plots that another process draws, where one could be started early, or else this one."""

import contextlib
import json
import subprocess
from typing import Any, Self

from trainwright.own_process import start
from trainwright.progress import under_way

SECONDS_TO_DRAW = 60  # then the plots are drawn here


class Artist:
    """The process that `report/plots/artist.py` is, as a context: in the end it has gone.

    Where this process dies, it goes as well. Raises OSError where none can be started.
    """

    def __init__(self) -> None:
        quiet = subprocess.DEVNULL
        self._process = start("trainwright.report.plots.artist", stdout=quiet, stderr=quiet)
        assert self._process.stdin is not None
        self._orders = self._process.stdin
        self._has_orders = False

    def order(self, order: dict[str, Any]) -> None:
        """Let it draw a plot, as `artist.draw` does."""
        self._has_orders = True
        with contextlib.suppress(OSError):  # it has gone
            self._orders.write(json.dumps(order).encode() + b"\n")
            self._orders.flush()

    def has_drawn(self) -> bool:
        """Wait for what was ordered. Returns whether all of it is there."""
        self._close()
        try:
            return self._process.wait(SECONDS_TO_DRAW) == 0
        except subprocess.TimeoutExpired:
            return False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        if not self._has_orders or not self.has_drawn():
            self._process.kill()
            self._process.wait()
        self._close()

    def _close(self) -> None:
        with contextlib.suppress(OSError):  # what it has not taken
            self._orders.close()


class Drawing:
    """The plots of one run, which are there when `finish` has returned."""

    def __init__(self, artist: Artist | None) -> None:
        self._artist = artist
        self._orders: list[dict[str, Any]] = []

    def plot(self, name: str, *arguments: Any, **named: Any) -> None:
        """Draw a plot of `artist.PLOTS`; its arguments are what JSON knows."""
        order = {"plot": name, "arguments": arguments, "named": named}
        self._orders.append(order)
        if self._artist is not None:
            self._artist.order(order)

    def finish(self) -> None:
        """Wait for the artist, or draw here what it has not. Raises OSError."""
        with under_way("drawing", len(self._orders), "plots") as drawing:
            if self._artist is not None and self._artist.has_drawn():
                return
            from trainwright.report.plots.artist import draw

            for order in self._orders:
                draw(order)
                drawing.advance()

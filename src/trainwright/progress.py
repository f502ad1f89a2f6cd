"""How far something has come: one bar that moves on a terminal, elsewhere a line now and then.

The bar is drawn by a thread, so that it moves while a step or a batch takes long, and counting
costs next to nothing. It shows what was begun last: an evaluation in the place of the training.
"""

import os
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sized
from contextlib import AbstractContextManager, contextmanager
from typing import Any, Protocol, TypeVar

from tqdm import tqdm

from trainwright.streams import is_quiet
from trainwright.wording import format_bytes, format_count, format_duration

Item = TypeVar("Item", covariant=True)

REDRAWN = 0.25  # seconds between two pictures of the bar
FIRST_LINE, LAST_LINE = 10.0, 60.0  # seconds to the first plain line; between two, after a while
# What is least missed comes last: a narrow terminal cuts it off.
FORMAT = (
    "{percentage:3.0f}% {bar:12} {elapsed}  {n_fmt}/{total_fmt}{unit}  {remaining} left  {desc}"
)


class Activity:
    """What takes a while and is counted; `text` is what else there is to say of it."""

    def __init__(
        self,
        text: str,
        total: int,
        unit: str,
        *,
        done: int = 0,
        say: Callable[[str], object] | None = None,
    ) -> None:
        """Begin to show it, until `close`. `done`: of earlier; `say`: prints a plain line."""
        self.text, self.total, self.unit = text, total, f" {unit}" if unit else ""
        self.done = self.before = done
        self.began = time.time()
        is_terminal = sys.stderr is not None and sys.stderr.isatty()
        self.is_drawn = _screen.is_ours and (is_terminal or _is_notebook()) and not is_quiet()
        self._say = say or _to_standard_error
        self._pause = FIRST_LINE
        self._next_line = time.monotonic() + FIRST_LINE
        if self.is_drawn:
            _screen.show(self)

    def advance(self, count: int = 1) -> None:
        """Count what has been done since."""
        self.to(self.done + count)

    def to(self, done: int) -> None:
        """So much has been done, of all."""
        self.done = done
        is_due = not self.is_drawn and time.monotonic() >= self._next_line
        if is_due and done != self.total:
            self._say(self._line())
            self._pause = min(2 * self._pause, LAST_LINE)
            self.has_said()

    def has_said(self) -> None:
        """A line has just told of it: the next one is not yet wanted."""
        self._next_line = time.monotonic() + self._pause

    def close(self) -> None:
        """It is over: nothing of it stays on the screen."""
        _screen.hide(self)

    def _line(self) -> str:
        made = self.done - self.before
        left = (time.time() - self.began) * (self.total - self.done) / made if made > 0 else None
        share = f" ({self.done / self.total:.0%})" if self.total else ""
        done, total = map(self._amount, (self.done, self.total))
        so_far = f"{done} of {total}{share}"
        soon = "" if left is None else f"{format_duration(left)} left"
        return "  ".join(filter(None, [so_far, soon, self.text]))

    def _amount(self, number: int) -> str:
        if self.unit == " B":
            return format_bytes(number)
        return f"{format_count(number)}{self.unit if number == self.total else ''}"


class _Bar(tqdm):  # type: ignore[type-arg]
    """A bar that is drawn when it is told to, and needs no thread of tqdm's to look after it."""

    monitor_interval = 0

    @classmethod
    def lock(cls) -> AbstractContextManager[object]:
        """What all that write beside it hold meanwhile."""
        lock: AbstractContextManager[object] = cls.get_lock()  # type: ignore[no-untyped-call]
        return lock

    def fit(self) -> None:
        """Take the width that there is: a terminal that nobody has sized says it has no columns."""
        self.ncols = max(1, (os.get_terminal_size(2).columns or 80) - 1)


class _CellBar(_Bar):
    """A bar below the cell of a notebook, in the place of the bar before it."""

    shown: Any = None  # by which IPython knows it

    def display(self, msg: str | None = None, pos: int | None = None, **other: Any) -> None:
        """Show it, or another text."""
        from IPython.display import display

        text = {"text/plain": str(self) if msg is None else msg}
        if self.shown is None:
            self.shown = display(text, raw=True, display_id=True)
        else:
            self.shown.update(text, raw=True)

    def clear(self, nolock: bool = False) -> None:
        """Lines that are printed do not come in its way."""

    def fit(self) -> None:
        """A cell is as wide as most terminals."""
        self.ncols = 80

    def close(self) -> None:
        """Show nothing any more."""
        if self.shown is not None:
            self.display("")
        self.disable = True


def _is_notebook() -> bool:
    """Whether this process executes cells of a notebook."""
    ipython = sys.modules.get("IPython")
    return ipython is not None and hasattr(ipython.get_ipython(), "kernel")


class _Screen:
    """The last line of a terminal, and who is shown on it."""

    is_ours = True  # whether this process may draw there

    def __init__(self) -> None:
        self._shown: list[Activity] = []
        self._bar: _Bar | None = None
        self._over = threading.Event()

    def show(self, activity: Activity) -> None:
        """Show it in the place of what was shown before."""
        self._shown.append(activity)
        if len(self._shown) == 1:
            self._over = threading.Event()
            threading.Thread(
                target=self._keep_drawing, args=(self._over,), name="progress", daemon=True
            ).start()

    def hide(self, activity: Activity) -> None:
        """Show again what was shown before it, if there is anything."""
        if activity not in self._shown:
            return
        with _Bar.lock():
            self._shown.remove(activity)
            if self._shown:
                self._turn_to(self._shown[-1])
                return
            self._over.set()
            if self._bar is not None:
                self._bar.clear()
                self._bar.close()
                self._bar = None

    def _keep_drawing(self, over: threading.Event) -> None:
        while not over.wait(REDRAWN):
            with _Bar.lock():
                if over.is_set():
                    return
                self._turn_to(self._shown[-1])
                assert self._bar is not None
                self._bar.refresh()

    def _turn_to(self, activity: Activity) -> None:
        if self._bar is None:
            kind = _CellBar if _is_notebook() else _Bar
            self._bar = kind(leave=False, bar_format=FORMAT, delay=1e9, ncols=80, nrows=24)
        bar = self._bar
        bar.fit()
        bar.total, bar.n = activity.total, activity.done
        bar.initial = min(activity.before, activity.done)
        bar.start_t, bar.desc = activity.began, activity.text
        bar.unit, bar.unit_scale = activity.unit, activity.unit == " B"


_screen = _Screen()


def plain_lines() -> None:
    """In a process beside another that draws on the same terminal: draw nothing there."""
    _screen.is_ours = False


@contextmanager
def under_way(text: str, total: int, unit: str) -> Iterator[Activity]:
    """Show that something is being done while this context is open."""
    activity = Activity(text, total, unit)
    try:
        yield activity
    finally:
        activity.close()


class _Countable(Sized, Protocol[Item]):
    def __iter__(self) -> Iterator[Item]: ...


def counted(items: _Countable[Item], text: str, unit: str = "batches") -> Iterator[Item]:
    """The items, shown as they are asked for."""
    with under_way(text, len(items), unit) as activity:
        for item in items:
            yield item
            activity.advance()


@contextmanager
def progress_bar(label: str, total: int, unit: str) -> Iterator[Callable[[int], object]]:
    """Say what begins and show how far it is; the value is called with each advance.

    Bytes (`unit="B"`) are shown as kB and MB.
    """
    with under_way(label, total, unit) as activity:
        if not activity.is_drawn:
            amount = format_bytes(total) if unit == "B" else f"{total:,} {unit}"
            _to_standard_error(f"{label} ({amount})")
        yield activity.advance


def _to_standard_error(line: str) -> None:
    if not is_quiet():
        print(line, file=sys.stderr, flush=True)


def own_progress_lock() -> None:
    """In a process that was forked: share no lock of progress bars with its relatives.

    tqdm's lies in shared memory, and one of them that is killed while it holds it would hang all
    the others at their next line.
    """
    tqdm.set_lock(threading.RLock())

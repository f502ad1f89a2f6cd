"""`runs watch`: a run or sweep that trains elsewhere, as its folder tells, again and again."""

import argparse
import contextlib
import os
import select
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

from trainwright.cli.commands.inspect.list import choose, lines_of
from trainwright.cli.commands.inspect.show import curves
from trainwright.cli.terminal.colour import STATUS, painted
from trainwright.cli.terminal.keys import Key, number, parse_keys
from trainwright.cli.terminal.pixels import picture
from trainwright.cli.terminal.table import cut, terminal_size
from trainwright.files import typed_path
from trainwright.runs.find import find_run, find_runs, is_run_folder
from trainwright.runs.folder import sample_files
from trainwright.runs.metrics import NAME, last_row, read_rows
from trainwright.runs.record import Record, numbers
from trainwright.runs.stored import read_lines
from trainwright.wording import format_count, format_duration, format_number, printable

KEYS: tuple[Key, ...] = (Key("every", number(0.1, 3600), 2.0, "seconds between two looks (2)"),)
EXAMPLES = """\
  runs watch                                         the newest run
  runs watch gan-mnist every=10
  runs watch outputs/sweeps/mlp-digits-lr-3fa2c1     all runs of a sweep

q or Ctrl-C ends the watching and leaves the run alone; it ends by itself with the run. Where the
output is no terminal, a line is printed whenever there is something new."""
MOST_ROWS = 2000  # of the log, of which curves are made
MOST_CURVES = 8
PATIENCE = 30.0  # seconds without a job at work, until a sweep is taken to have ended


class _Watched(Protocol):
    def lines(self) -> list[str]:
        """What there is to see now."""

    def news(self) -> str:
        """The same as a line, which is another one only where something is new."""

    def is_over(self) -> bool:
        """Whether nothing more will come."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The run, and how often to look."""
    wanted = "as everywhere, or a sweep's folder (last)"
    parser.add_argument("words", nargs="*", metavar="RUN key=value", help=wanted)


def execute(arguments: argparse.Namespace) -> int:
    """Look until it is over or somebody has seen enough. Raises ConfigError for what is no run."""
    settings = [word for word in arguments.words if "=" in word and not Path(word).exists()]
    every = parse_keys(settings, KEYS)["every"]
    word = next((word for word in arguments.words if word not in settings), "last")
    path = typed_path(word)
    watched: _Watched
    if path.is_dir() and not is_run_folder(path) and find_runs(path):
        watched = _Sweep(path)
    else:
        watched = _Run(find_run(word, arguments.root))
    with contextlib.suppress(KeyboardInterrupt):
        if sys.stdout.isatty():
            _redraw(watched, every)
        else:
            _print(watched, every)
    return 0


def _print(watched: _Watched, every: float) -> None:
    told = ""
    while True:
        is_over = watched.is_over()
        if (news := watched.news()) != told:
            print(news, flush=True)
            told = news
        if is_over:
            return
        time.sleep(every)


def _redraw(watched: _Watched, every: float) -> None:
    """On a screen of its own; the last one stays when it is left."""
    lines: list[str] = []
    with _keys() as pressed:
        try:
            sys.stdout.write("\x1b[?1049h\x1b[?25l")  # another screen, no cursor
            while True:
                is_over = watched.is_over()
                lines = watched.lines()
                shown = lines[: terminal_size()[1] - 1]
                body = "".join(f"{line}\x1b[K\n" for line in shown)
                sys.stdout.write(f"\x1b[H{body}q: leave, it trains on\x1b[J")
                sys.stdout.flush()
                if is_over or pressed(every):
                    return
        finally:
            sys.stdout.write("\x1b[?25h\x1b[?1049l")
            print("\n".join(lines), flush=True)


@contextlib.contextmanager
def _keys() -> "Iterator[_Pressed]":
    """Whether `q` is pressed within so many seconds; without a keyboard, never."""
    if not sys.stdin.isatty() or sys.platform == "win32":
        yield _never
        return
    import termios
    import tty

    before = termios.tcgetattr(sys.stdin)

    def pressed(seconds: float) -> bool:
        ready, _, _ = select.select([sys.stdin], [], [], seconds)
        typed = os.read(sys.stdin.fileno(), 64) if ready else b"-"
        return b"q" in typed.lower() or not typed  # or the terminal is gone

    try:
        tty.setcbreak(sys.stdin)
        yield pressed
    finally:
        termios.tcsetattr(sys.stdin, termios.TCSADRAIN, before)


class _Pressed(Protocol):
    def __call__(self, seconds: float) -> bool: ...


def _never(seconds: float) -> bool:
    time.sleep(seconds)
    return False


class _Run:
    """One run."""

    def __init__(self, run: Record) -> None:
        self._path, self._name = run.path, run.name
        self._seen: list[tuple[float, int]] = []  # when which step was logged

    def is_over(self) -> bool:
        return Record(self._path).status != "running"

    def news(self) -> str:
        run, row = Record(self._path), last_row(self._path)
        ends = ("loss", f"validation/{run.objective}")
        measured = ((k, v) for k, v in numbers(row).items() if k.endswith(ends))
        told = [f"{name} {format_number(value)}" for name, value in measured]
        return "  ".join(map(printable, [run.status, *self._progress(run), *told]))

    def lines(self) -> list[str]:
        run, (columns, rows) = Record(self._path), terminal_size()
        status = painted(run.status, STATUS.get(run.status), sys.stdout)
        lines = [f"{cut(printable(self._name), columns - 12)}  {status}"]
        lines.append("  " + cut("  ".join(self._progress(run)), columns - 2))
        logged = read_rows(self._path, most=MOST_ROWS)
        health = next((row["health"] for row in reversed(logged) if "health" in row), "")
        lines += [f"  health: {printable(str(health))[: columns - 10]}"] if health else []
        if error := run.summary.get("error"):
            lines.append(painted(cut(f"  {printable(str(error))}", columns), "red", sys.stdout))
        first = (run.objective or "", "loss", "accuracy")
        lines += ["", *curves(logged, MOST_CURVES, columns, first)]
        if samples := sample_files(self._path / "samples")[""]:
            lines += ["", f"  {printable(str(samples[-1]))}"]
            lines += picture(samples[-1], columns - 4, rows - len(lines) - 2)
        return lines

    def _progress(self, run: Record) -> list[str]:
        """How far it is, how fast by the times at which it logged, and what is left."""
        step, steps = run.step or 0, run.steps
        share = f" of {format_count(steps)} ({step / steps:.0%})" if steps else ""
        told = [f"step {format_count(step)}{share}"]
        with contextlib.suppress(OSError):
            now = (self._path / NAME).stat().st_mtime
            if not self._seen and run.started and "resumed" not in run.summary:
                self._seen.append((run.started, 0))
            if not self._seen or self._seen[-1][1] != step:
                self._seen = [*self._seen[-20:], (now, step)]
        (begin, first), (end, last) = self._seen[0], self._seen[-1]
        if run.status != "running" or end <= begin or last <= first:
            return told
        rate = (last - first) / (end - begin)
        size = run.setting("trainer.batch_size")
        is_federated = run.setting("federated.clients") is not None
        told += [f"{rate * size:,.0f} examples/s"] if type(size) is int and not is_federated else []
        return [*told, f"{format_duration((steps - step) / rate)} left"] if steps else told


class _Sweep:
    """All runs in a folder."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._at_work = time.monotonic()

    def is_over(self) -> bool:
        statuses = [run.status for run in find_runs(self._path)]
        if "running" in statuses:
            self._at_work = time.monotonic()
            return False
        return len(statuses) >= self._planned() or time.monotonic() > self._at_work + PATIENCE

    def news(self) -> str:
        statuses = [run.status for run in find_runs(self._path)]
        counts = [f"{statuses.count(status)} {status}" for status in dict.fromkeys(statuses)]
        planned = max(self._planned(), len(statuses))
        return f"{len(statuses)} of {planned} begun: {', '.join(sorted(counts))}"

    def lines(self) -> list[str]:
        return [printable(str(self._path)), self.news(), "", *lines_of(choose([], self._path))]

    def _planned(self) -> int:
        jobs = read_lines(self._path / ".sweep" / "jobs.jsonl")
        return len({str(job.get("id")) for job in jobs})

"""A bar moves by itself on a terminal; elsewhere lines come ever more rarely."""

import fcntl
import gzip
import os
import pty
import re
import select
import struct
import subprocess
import sys
import termios
import time

import numpy as np
import pytest
import torch

from trainwright import progress
from trainwright.data.columns import Classes, Numbers
from trainwright.data.dataset import DataInfo, Dataset
from trainwright.data.examples import Arrays
from trainwright.data.tables.reader import Table
from trainwright.inference.intervals import bootstrap
from trainwright.progress import Activity, counted, under_way
from trainwright.report.plots.drawing import Drawing
from trainwright.run.baselines import baselines
from trainwright.score.judge import Judge, RealImages, Seen

PATIENCE = 20  # seconds, for a machine that is busy


class Terminal:
    """A program that has a pseudo-terminal, and does nothing until it is told to go on."""

    def __init__(self, body, columns=100):
        self._leader, follower = pty.openpty()
        size = struct.pack("HHHH", 24 if columns else 0, columns, 0, 0)
        fcntl.ioctl(follower, termios.TIOCSWINSZ, size)
        program = f"from trainwright.progress import *\nimport sys\n{body}"
        self.process = subprocess.Popen(
            [sys.executable, "-c", program],
            stdin=subprocess.PIPE,
            stdout=follower,
            stderr=follower,
            env={**os.environ, "TERM": "xterm"},
        )
        os.close(follower)
        self.text = ""

    def read_until(self, pattern, count):
        """Read until the pattern has been seen so many times, in what comes from now on."""
        self.text = ""
        while len(re.findall(pattern, self.text)) < count:
            ready, _, _ = select.select([self._leader], [], [], PATIENCE)
            assert ready, f"nothing moves: {self.text!r}"
            self.text += os.read(self._leader, 65536).decode()

    def go_on(self):
        self.process.stdin.write(b"\n")
        self.process.stdin.flush()

    def rest(self):
        """All that comes until the program has ended."""
        rest = ""
        while True:
            try:
                rest += os.read(self._leader, 65536).decode()
            except OSError:
                break
        os.close(self._leader)
        self.process.stdin.close()
        assert self.process.wait() == 0
        return rest


NESTED = """
outer = Activity("training", 8, "steps", done=2)
sys.stdin.readline()
outer.to(4)
with under_way("evaluating", 5, "batches") as inner:
    inner.advance(3)
    sys.stdin.readline()
sys.stdin.readline()
outer.close()
print("over")
"""


def test_a_bar_moves_while_nothing_is_counted_and_shows_what_was_begun_last():
    terminal = Terminal(NESTED)
    terminal.read_until(r" 25% [^\r]*2/8 steps  \? left  training", 3)
    terminal.go_on()
    terminal.read_until(r" 60% [^\r]*3/5 batches  \S+ left  evaluating", 3)
    terminal.go_on()
    terminal.read_until(r" 50% [^\r]*4/8 steps  \d\d:\d\d left  training", 3)
    terminal.go_on()
    assert re.fullmatch(r"(\r[^\r\n]*)*\r +\rover\r\n", terminal.rest()), "nothing stays of it"


def test_the_time_left_is_by_the_rate_of_this_leg():
    # 990 steps were made by an earlier process: at the rate of this one, 5 in 1 s, 1 s is left.
    body = "a = Activity('', 1000, '', done=990); a.began -= 10; a.to(995); sys.stdin.readline()"
    terminal = Terminal(body)
    terminal.read_until(r"995/1000  00:(10|11|12|13|14) left", 1)
    terminal.go_on()
    terminal.rest()


@pytest.mark.parametrize("columns", [0, 1, 20, 300])
def test_a_terminal_of_any_width_has_one_line(columns):
    text = "{a text} with braces and many words " * 9
    terminal = Terminal(f"a = Activity({text!r}, 3, 'x'); sys.stdin.readline()", columns)
    terminal.read_until("\r", 4)
    terminal.go_on()
    output = terminal.text + terminal.rest()
    assert "\n" not in output
    longest = max(len(part) for part in output.split("\r"))
    assert longest <= (columns or 1000)


def test_lines_come_after_ten_seconds_and_then_ever_more_rarely(monkeypatch, capsys):
    clock = [0.0]
    monkeypatch.setattr(time, "monotonic", lambda: clock[0])
    monkeypatch.setattr(time, "time", lambda: clock[0])
    said = []
    activity = Activity("so far", 400, "files", say=lambda line: said.append((clock[0], line)))
    for second in range(1, 300):
        clock[0] = float(second)
        activity.advance()
    assert [when for when, _ in said] == [10, 30, 70, 130, 190, 250]
    assert said[1][1] == "30 of 400 files (8%)  6 min 10 s left  so far"
    assert capsys.readouterr() == ("", "")


def test_a_line_that_was_said_elsewhere_puts_off_the_next(monkeypatch):
    clock = [0.0]
    monkeypatch.setattr(time, "monotonic", lambda: clock[0])
    said = []
    activity = Activity("", 400, "steps", say=said.append)
    for second in range(1, 100):
        clock[0] = float(second)
        activity.advance()
        if second % 9 == 0:
            activity.has_said()
    assert said == []


def test_without_a_terminal_a_short_loop_says_nothing_and_starts_no_thread(capfd):
    assert list(counted(range(3), "counting")) == [0, 1, 2]
    with under_way("waiting", 0, "") as activity:
        activity.advance()
    assert capfd.readouterr() == ("", "")
    assert progress._screen._shown == []


@pytest.fixture
def told(monkeypatch):
    """What has been begun, how much of it there was, and how far it came."""
    begun = {}

    class Noted(Activity):
        def __init__(self, text, total, unit, **more):
            super().__init__(text, total, unit, **more)
            begun[text] = self

    monkeypatch.setattr(progress, "Activity", Noted)
    return lambda: {text: (one.done, one.total) for text, one in begun.items()}


@pytest.mark.parametrize("opened", [open, gzip.open])
def test_reading_a_table_is_shown_by_the_bytes_of_its_file(opened, told, tmp_path):
    path = tmp_path / "large.csv"
    lines = np.random.default_rng(0).integers(10**12, size=(100_000, 2))
    with opened(path, "wt") as file:
        file.write("a,b\n" + "".join(f"{a},{b}\n" for a, b in lines))
    chunks = Table(path).chunks()
    next(chunks)
    size = path.stat().st_size
    assert 0 < told()["reading large.csv"][0] < size
    for _ in chunks:
        pass
    assert told()["reading large.csv"] == (size, size)


def test_intervals_comparisons_and_drawing_are_shown(told, tmp_path):
    """Of 300,000 rows the intervals take a minute."""
    bootstrap(lambda places: {"x": 1.0}, 5, seed=0, num_resamples=7)
    arrays = {"inputs": torch.rand(40, 2), "targets": torch.arange(40) % 2}
    columns = {
        "inputs": Numbers(mean=(0.0, 0.0), std=(1.0, 1.0)),
        "targets": Classes(names=("a", "b")),
    }
    info = DataInfo("x", columns, ("inputs",), ("targets",))
    split = Arrays(arrays)
    baselines(Dataset(info, split, split, split, baselines=True))
    drawing = Drawing(None)
    drawing.plot("plot_logits", [0.1], [0.2], str(tmp_path / "logits.png"))
    drawing.finish()
    features = torch.randn(60, 4, generator=torch.Generator().manual_seed(0))
    real = RealImages(Seen(features, None), None, torch.arange(60))
    judge = Judge(name="", look=None, reference=real, held_out=real, num_samples=60)
    judge.figures(real.seen, None)
    assert told() == {
        "drawing again, for the intervals": (7, 7),
        "training what it is compared with": (2, 2),
        "drawing": (1, 1),
        "comparing with real images, for the score": (5, 5),
    }

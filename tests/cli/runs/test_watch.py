"""`runs watch` and `runs report --live` follow a run of another process, and leave it alone."""

import argparse
import fcntl
import json
import os
import pty
import re
import struct
import subprocess
import sys
import termios
import threading
import time
from pathlib import Path

import pytest
from PIL import Image

from trainwright.cli.commands.inspect import report
from trainwright.runs.lock import RunLock

RUNS = Path(sys.executable).with_name("runs")
LIMIT = 60  # seconds that anything may take before the test fails


class Training:
    """A run as it looks while a process, this one, trains in it."""

    def __init__(self, path):
        self.path = path
        (path / "checkpoints").mkdir(parents=True)
        (path / "samples").mkdir()
        (path / "config.yaml").write_text("trainer: {batch_size: 10}\n")
        self.say("running")
        self.log(step=1)
        self.lock = RunLock(path).acquire()

    def say(self, status):
        told = {"status": status, "steps": 100, "objective": "accuracy"}
        temporary = self.path / "new.json"
        temporary.write_text(json.dumps(told))
        temporary.replace(self.path / "summary.json")

    def log(self, step):
        row = {"step": step, "train/loss": 1 / step, "validation/accuracy": 0.9, "health": "well"}
        with (self.path / "metrics.jsonl").open("a") as file:
            file.write(json.dumps(row) + "\n")

    def end(self):
        self.say("finished")
        self.lock.release()


@pytest.fixture
def training(tmp_path):
    run = Training(tmp_path / "run")
    yield run
    run.lock.release()


class Terminal:
    """A terminal of 80 columns in which a command runs."""

    def __init__(self, *command, **more):
        self.leader, follower = pty.openpty()
        fcntl.ioctl(follower, termios.TIOCSWINSZ, struct.pack("HHHH", 30, 80, 0, 0))
        self.process = subprocess.Popen(
            command,
            stdin=follower,
            stdout=follower,
            stderr=follower,
            env={**os.environ, "TERM": "xterm", **more},
        )
        self.follower, self.shown = follower, ""

    def read_until(self, text):
        """Read on until it has come; only what comes after what was read before counts."""
        new = ""
        while text not in new:
            new += os.read(self.leader, 65536).decode(errors="replace")
        self.shown += new
        return new

    def close(self):
        self.process.kill()
        self.process.wait()
        os.close(self.leader)
        os.close(self.follower)


@pytest.mark.timeout(LIMIT)
def test_a_terminal_shows_what_is_new_and_q_leaves_the_run_alone(training):
    Image.new("RGB", (4, 4), (255, 0, 0)).save(training.path / "samples" / "000001.png")
    terminal = Terminal(RUNS, "watch", training.path, "every=0.1", COLORTERM="truecolor")
    try:
        before = termios.tcgetattr(terminal.follower)
        first = terminal.read_until("q: leave")
        assert "step 1 of 100 (1%)" in first
        assert "samples/000001.png" in first
        assert "\x1b[38;2;255;0;0m\x1b[48;2;255;0;0m▀" in first
        training.log(step=50)
        new = terminal.read_until("step 50 of 100 (50%)") + terminal.read_until("q: leave")
        assert "examples/s" in new
        assert " left" in new
        assert "health: well" in new
        assert re.search(r"validation/accuracy +0\.9 ", new)
        os.write(terminal.leader, b"q")
        assert terminal.process.wait() == 0
        assert termios.tcgetattr(terminal.follower) == before
        assert terminal.read_until("\x1b[?25h\x1b[?1049l")  # the cursor and the screen are back
    finally:
        terminal.close()
    assert json.loads((training.path / "summary.json").read_text())["status"] == "running"


@pytest.mark.timeout(LIMIT)
def test_without_a_terminal_a_line_comes_with_each_news_until_the_run_ends(training):
    command = [RUNS, "watch", training.path, "every=0.1"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            line = process.stdout.readline()
            assert line.startswith("running  step 1 of 100 (1%)  ")
            assert line.endswith(" left  train/loss 1  validation/accuracy 0.9\n")
            training.log(step=2)
            assert "step 2 of 100 (2%)" in process.stdout.readline()
            training.end()
            line = process.stdout.readline()
            assert line == "finished  step 2 of 100 (2%)  train/loss 0.5  validation/accuracy 0.9\n"
            assert process.stdout.read() == ""
            assert process.wait() == 0
        finally:
            process.kill()


@pytest.mark.timeout(LIMIT)
def test_a_live_page_asks_to_be_read_again_until_the_run_ends(training, tmp_path, monkeypatch):
    monkeypatch.setattr(report, "EVERY", 1)
    page = tmp_path / "page.html"
    seen = []

    def end_when_seen():
        while not page.exists():
            time.sleep(0.01)
        seen.append(page.read_text())
        training.end()

    other = threading.Thread(target=end_when_seen)
    other.start()
    words = [str(training.path), f"out={page}"]
    code = report.execute(argparse.Namespace(runs=words, root=tmp_path, live=True))
    other.join()
    assert code == 0
    assert '<meta http-equiv="refresh" content="1">' in seen[0]
    assert 'http-equiv="refresh"' not in page.read_text()

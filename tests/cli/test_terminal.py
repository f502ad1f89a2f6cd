"""What a run looks like: a bar on a terminal that leaves nothing behind, plain lines elsewhere."""

import fcntl
import os
import pty
import re
import struct
import subprocess
import sys
import termios
from pathlib import Path

import pytest

TRAIN = Path(sys.executable).with_name("train")
COLUMNS = 120
RUN = (
    "model=gan",
    "model.width=4",
    "trainer=smoke",
    "trainer.steps=12",
    "trainer.evaluate_every=1",
)


def on_a_terminal(folder, environment, *arguments):
    """Everything that the command sends to a terminal of so many columns."""
    leader, follower = pty.openpty()
    fcntl.ioctl(follower, termios.TIOCSWINSZ, struct.pack("HHHH", 24, COLUMNS, 0, 0))
    process = subprocess.Popen(
        [TRAIN, *arguments],
        cwd=folder,
        env={**environment, "TERM": "xterm"},
        stdin=follower,
        stdout=follower,
        stderr=follower,
    )
    os.close(follower)
    chunks = []
    while True:
        try:
            chunk = os.read(leader, 65536)
        except OSError:  # the last process that had the terminal open is gone
            break
        if not chunk:
            break
        chunks.append(chunk)
    os.close(leader)
    assert process.wait() == 0
    return b"".join(chunks).decode()


def screen(output):
    """The lines that stay on the screen: a carriage return writes over what is there."""
    lines = []
    for line in output.replace("\r\n", "\n").split("\n"):
        shown = ""
        for part in line.split("\r"):
            shown = part + shown[len(part) :]
        lines.append(shown.rstrip())
    return lines


@pytest.mark.slow
def test_a_bar_shows_steps_losses_rate_and_time_left_and_then_is_gone(empty, environment):
    output = on_a_terminal(empty, environment, *RUN)
    bars = [part for part in re.split(r"[\r\n]", output) if "left" in part]
    assert bars
    assert all(len(bar) <= COLUMNS for bar in bars)
    last = [bar for bar in bars if "images/s" in bar][-1]
    assert re.search(
        r"\d+% .+ \d+/12  \S+ left  D loss \d\.\d{3}  G loss \d\.\d{3}  [\d,]+ images/s", last
    )
    assert any("validation sliced" in bar for bar in bars), bars
    left = [line for line in screen(output) if " left " in line or "█" in line]
    assert left == []
    assert sum(line.startswith("step ") for line in screen(output)) == 12, "one an evaluation"


def test_without_a_terminal_there_are_plain_lines(run_main):
    result = run_main(*RUN, "trainer.plots=false")
    for text in (result.out, result.err):
        assert "\r" not in text
        assert "\x1b" not in text
        assert "left" not in text
    assert result.out
    assert result.err == ""


@pytest.mark.slow
def test_a_reader_that_has_seen_enough_does_not_stop_the_run(run_program, empty):
    command = f'"{TRAIN}" trainer=smoke run.dir=run | head -1'
    result = run_program("bash", "-c", f"set -o pipefail; {command}")
    assert result.code == 0, result.err
    assert result.out.startswith("digits:")
    assert result.err == ""
    assert '"status": "finished"' in (empty / "run" / "summary.json").read_text()
    assert "test (best weights)" in (empty / "run" / "train.log").read_text()

"""Images are decoded by threads of the run's own process: what dies with it, and what is left."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

CODE = """
import sys
sys.argv = ["train"]
from trainwright.cli.train import main
main(sys.argv[1:] + {arguments!r})
"""


def members(group):
    """The processes of a group that are alive, by their ids."""
    alive = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            fields = (entry / "stat").read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(fields[2]) == group and fields[0] != "Z":
            alive.append(int(entry.name))
    return alive


def start(tmp_path, num=200):
    """A run that decodes large images, as the leader of a group of its own."""
    folder = tmp_path / "images"
    folder.mkdir()
    pixels = np.random.default_rng(0).integers(0, 256, (700, 700, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(folder / "0.png")
    for number in range(1, num):
        os.link(folder / "0.png", folder / f"{number}.png")
    arguments = [
        "data=folder", f"data.path={folder}", f"data.root={tmp_path / 'root'}", "model=gan",
        f"run.dir={tmp_path / 'run'}", "data.size=64",
    ]  # fmt: skip
    process = subprocess.Popen(
        [sys.executable, "-c", CODE.format(arguments=arguments)],
        cwd=tmp_path, start_new_session=True, stderr=subprocess.PIPE, text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    while process.poll() is None and not list(
        (tmp_path / "root").glob("folder-cache/.*/images.bin")
    ):
        time.sleep(0.01)
    assert process.poll() is None, process.stderr.read()
    return process


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_a_run_that_is_killed_while_it_decodes_leaves_no_process_behind(tmp_path, number):
    process = start(tmp_path)
    assert members(process.pid) == [process.pid]  # there are no others to be orphaned
    os.kill(process.pid, number)
    process.communicate(timeout=60)
    deadline = time.monotonic() + 10
    while members(process.pid) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert members(process.pid) == []
    assert not (tmp_path / "run").exists()
    assert not list((tmp_path / "root").glob("folder-cache/[!.]*"))


@pytest.mark.slow
def test_a_run_that_is_stopped_and_let_go_decodes_on(tmp_path):
    process = start(tmp_path, num=60)
    os.kill(process.pid, signal.SIGSTOP)
    time.sleep(1)
    os.kill(process.pid, signal.SIGCONT)
    while process.poll() is None and not (tmp_path / "run" / "summary.json").exists():
        time.sleep(0.05)
    assert process.poll() is None
    process.kill()
    process.communicate()


def test_the_check_sees_a_process_that_is_left_behind(tmp_path):
    """The negative control."""
    process = subprocess.Popen(
        ["sh", "-c", "sleep 60 & echo started; wait"], start_new_session=True,
        stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    process.stdout.readline()
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    process.stdout.close()
    left = members(process.pid)
    assert len(left) == 1
    os.kill(left[0], signal.SIGKILL)

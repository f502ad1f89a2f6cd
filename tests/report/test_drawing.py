"""Plots that a process of their own draws are those that this one would; it is never relied on."""

import json
import os
import signal
import subprocess
import sys

import pytest

from trainwright.report.plots.confusion import plot_confusion
from trainwright.report.plots.curves import plot_curves
from trainwright.report.plots.drawing import Artist, Drawing
from trainwright.report.plots.scores import plot_logits

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="lists processes as Linux does")

ROWS = [{"step": step, "train/loss": 1 / step, "lr": 0.1} for step in (1, 2, 3)]
COUNTS = [[3, 1], [0, 4]]
LOGITS = [-1.0, 0.1, 2.5]


def ordered(drawing, folder):
    drawing.plot("plot_curves", ROWS, str(folder / "curves.png"))
    drawing.plot("plot_confusion", COUNTS, ["a", "b"], str(folder / "confusion.png"))
    drawing.plot("plot_logits", fake=LOGITS, real=LOGITS, path=str(folder / "logits.png"))


@pytest.fixture(scope="module")
def here(tmp_path_factory):
    """The files that are drawn without an artist."""
    folder = tmp_path_factory.mktemp("here")
    plot_curves(ROWS, folder / "curves.png")
    plot_confusion(COUNTS, ["a", "b"], folder / "confusion.png")
    plot_logits(LOGITS, LOGITS, folder / "logits.png")
    return files(folder)


def files(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def children():
    listed = subprocess.run(
        ["ps", "-o", "pid=,args=", "--ppid", str(os.getpid())],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    return [int(line.split()[0]) for line in listed.splitlines() if "plots.artist" in line]


def test_the_artist_draws_the_same_files_and_has_gone_after_that(here, tmp_path):
    with Artist() as artist:
        drawing = Drawing(artist)
        ordered(drawing, tmp_path)
        drawing.finish()
        assert files(tmp_path) == here
    assert children() == []


def test_where_the_artist_has_gone_the_plots_are_drawn_here(here, tmp_path):
    with Artist() as artist:
        drawing = Drawing(artist)
        (pid,) = children()
        os.kill(pid, signal.SIGKILL)
        ordered(drawing, tmp_path)
        drawing.finish()
    assert files(tmp_path) == here


@pytest.mark.slow
def test_a_plot_that_cannot_be_written_is_refused_as_without_an_artist(tmp_path):
    (tmp_path / "plots").write_text("a file where the folder should be")
    with Artist() as artist:
        drawing = Drawing(artist)
        ordered(drawing, tmp_path / "plots")
        with pytest.raises(FileExistsError):
            drawing.finish()


def test_an_artist_without_orders_is_ended_at_once_and_leaves_nothing(tmp_path):
    with Artist():
        pass
    assert children() == []
    assert list(tmp_path.iterdir()) == []


def test_the_artist_draws_what_it_has_before_it_goes_with_who_has_ordered_it(tmp_path):
    """As where a run is killed: its end of the pipe is closed, and no half of a file is left."""
    arguments = [COUNTS, ["a", "b"], str(tmp_path / "c.png")]
    order = {"plot": "plot_confusion", "arguments": arguments, "named": {}}
    ended = subprocess.run(
        [sys.executable, "-m", "trainwright.report.plots.artist"],
        input=json.dumps(order) + "\n",
        text=True,
        timeout=60,
        check=False,
    )
    assert ended.returncode == 0
    assert [path.name for path in tmp_path.iterdir()] == ["c.png"]


@pytest.mark.slow
def test_a_run_from_the_shell_draws_without_importing_what_draws(tmp_path):
    program = """
import sys
from trainwright.cli.train import main
try:
    main(["model=mlp", "trainer=smoke", "trainer.plots=true", f"run.dir={sys.argv[1]}"])
except SystemExit as end:
    assert not end.code
assert "matplotlib" not in sys.modules
"""
    run = tmp_path / "run"
    ended = subprocess.run(
        [sys.executable, "-c", program, str(run)], capture_output=True, text=True, check=False
    )
    assert ended.returncode == 0, ended.stderr
    drawn = {path.name for path in (run / "plots").iterdir()}
    assert drawn == {"curves.png", "lr.png", "confusion.png", "predictions.png"}


@pytest.mark.slow
def test_a_run_draws_by_itself_where_no_process_can_be_started(tmp_path):
    program = """
import sys
from trainwright.cli.train import main
sys.executable = "/nowhere/python"
try:
    main(["model=mlp", "trainer=smoke", "trainer.plots=true", f"run.dir={sys.argv[1]}"])
except SystemExit as end:
    assert not end.code
"""
    run = tmp_path / "run"
    ended = subprocess.run(
        [sys.executable, "-c", program, str(run)], capture_output=True, text=True, check=False
    )
    assert ended.returncode == 0, ended.stderr
    assert (run / "plots" / "curves.png").exists()

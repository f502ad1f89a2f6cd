"""How the commands speak: in short, in events for programs, in colour where a terminal has it."""

import json
import os
import pty
import subprocess
import sys
from pathlib import Path

import pytest

from trainwright import errors

TINY = ("trainer.epochs=1", "trainer.evaluate_every=10", "trainer.plots=false", "run.dir=run")
RUNS = Path(sys.executable).with_name("runs")


def test_quiet_prints_the_result_alone_and_keeps_the_log(run_main, empty):
    result = run_main("--quiet", *TINY)
    assert (result.code, result.err) == (0, "")
    (line,) = result.out.splitlines()
    assert line.startswith("run: test (best weights): accuracy 0.")
    assert "step     10 | epoch" in (empty / "run" / "train.log").read_text()


def test_quiet_prints_errors(run_main):
    result = run_main("--quiet", "optimizer.lr=abc")
    assert result.code == 2
    assert result.out == ""
    assert result.err == "error: optimizer.lr='abc': it must be a number\n"


def events_of(result):
    return [json.loads(line) for line in result.out.splitlines()]


def test_events_are_all_of_standard_output_and_say_what_the_files_say(run_main, empty):
    result = run_main(*TINY, "trainer.events=json")
    events, run = events_of(result), empty / "run"
    assert result.code == 0
    assert events[0]["event"] == "start"
    assert (events[0]["folder"], events[0]["steps"]) == ("run", 23)
    rows = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    told = [event for event in events if event["event"] == "metrics"]
    assert [{k: v for k, v in e.items() if k not in ("event", "time")} for e in told] == rows
    saved = [event for event in events if event["event"] == "save"]
    assert saved[-1]["step"] == 23
    assert "checkpoints/last.safetensors" in saved[-1]["files"]
    summary = json.loads((run / "summary.json").read_text())
    assert events[-1]["event"] == "finish"
    assert events[-1]["status"] == "finished"
    assert events[-1]["best"] == summary["best"]
    assert "step     10 | epoch" in result.err  # where a person may read
    assert "events: null" in (run / "config.yaml").read_text()  # who goes on with it may be one


def test_a_failure_is_an_event_with_the_exit_code(run_main):
    result = run_main("trainer.events=json", "optimizer.lr=abc")
    (event,) = events_of(result)
    assert (event["event"], event["exit_code"]) == ("failure", result.code) == ("failure", 2)
    assert event["error"] in result.err


@pytest.fixture
def listed(empty):
    """What `runs list` sends to a terminal that has one finished run to show."""
    folder = empty / "outputs" / "one"
    (folder / "checkpoints").mkdir(parents=True)
    (folder / "config.yaml").write_text("model: {}\n")
    (folder / "summary.json").write_text('{"status": "finished"}')

    def on_a_terminal(**more):
        leader, follower = pty.openpty()
        environment = {**os.environ, "TERM": "xterm", **more}
        environment = {k: v for k, v in environment.items() if v}
        subprocess.run([RUNS, "list"], stdout=follower, env=environment, check=True)
        os.close(follower)
        text = os.read(leader, 65536).decode()
        os.close(leader)
        return text

    return on_a_terminal


def test_a_terminal_has_colour_unless_nobody_wants_it(listed):
    assert "\x1b[32mfinished\x1b[0m" in listed(NO_COLOR="")
    assert "\x1b" not in listed(NO_COLOR="1")
    assert "\x1b" not in listed(NO_COLOR="", TERM="dumb")


def test_an_extra_is_installed_from_a_checkout_where_that_is_what_runs(monkeypatch, tmp_path):
    (tmp_path / "src" / "trainwright").mkdir(parents=True)
    monkeypatch.setattr(errors, "__file__", str(tmp_path / "src" / "trainwright" / "errors.py"))
    (tmp_path / "pyproject.toml").touch()
    assert errors.install("hf") == f"pip install -e '{tmp_path}[hf]'"
    monkeypatch.chdir(tmp_path)
    assert errors.install("hf") == "pip install -e '.[hf]'"


def test_as_a_module_it_is_both_commands(run_program):
    listed = run_program(sys.executable, "-m", "trainwright", "runs", "list")
    assert (listed.code, listed.out) == (0, "no runs in outputs\n")
    assert run_program(sys.executable, "-m", "trainwright", "--version").out.startswith("trainw")

"""Ctrl-C and SIGTERM: save, say how to go on, and go on to exactly the same end."""

import json
import os
import pty
import signal
import sys
from pathlib import Path

import pytest
import torch
from omegaconf import ListConfig

from trainwright.engine.checkpoint import checkpoint
from trainwright.stop_signals import taken_by

TRAIN = Path(sys.executable).with_name("train")

# Blocks in its third step until something is written into `gate`: no clock is needed.
GATED = """
from pathlib import Path
from trainwright.nn.mlp import MLP

class Gated(MLP):
    calls = 0

    def forward(self, inputs):
        Gated.calls += 1
        if Gated.calls == 3 and Path("gate").exists():
            print("at the gate", flush=True)
            Path("gate").read_text()
        return super().forward(inputs)
"""
CONFIG = "_target_: gated.Gated\nwidths: [8]\n"
RUN = ("model=gated", "trainer.steps=8", "trainer.evaluate_every=4", "trainer.log_every=1")


@pytest.fixture
def gate(empty):
    (empty / "gated.py").write_text(GATED)
    (empty / "configs" / "model").mkdir(parents=True)
    (empty / "configs" / "model" / "gated.yaml").write_text(CONFIG)
    os.mkfifo(empty / "gate")
    return empty / "gate"


def wait_for(stream, text):
    """Read lines until one holds `text`; return all of them."""
    lines = []
    for line in stream:
        lines.append(line)
        if text in line:
            return "".join(lines)
    raise AssertionError(f"the output ended without {text!r}:\n{''.join(lines)}")


def status_of(folder):
    return json.loads((folder / "summary.json").read_text())["status"]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("number", "code"),
    [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129), (signal.SIGUSR1, 138)],
)
def test_a_run_that_was_stopped_and_resumed_is_the_run_that_was_not(
    number, code, gate, empty, start_train, run_main
):
    process = start_train(*RUN, "run.dir=run")
    wait_for(process.stdout, "at the gate")
    process.send_signal(number)
    if number == signal.SIGINT:
        wait_for(process.stderr, "Ctrl-C again to stop at once")
    gate.write_text("go")
    out, err = process.communicate(timeout=60)
    assert process.returncode == code, err
    assert "Traceback" not in err
    assert "train trainer.resume=run" in out
    assert status_of(empty / "run") == "stopped"

    gate.unlink()
    assert run_main("trainer.resume=run", "trust=[gated.Gated]").code == 0
    assert run_main(*RUN, "run.dir=whole").code == 0
    assert status_of(empty / "run") == "finished"
    stopped, whole = (
        checkpoint.load(empty / name / "checkpoints" / "last.safetensors")[0]
        for name in ("run", "whole")
    )
    assert stopped.keys() == whole.keys()
    assert all(torch.equal(stopped[name], whole[name]) for name in whole)
    assert (empty / "run/metrics.jsonl").read_text() == (empty / "whole/metrics.jsonl").read_text()


@pytest.mark.slow
def test_a_second_ctrl_c_leaves_at_once(gate, empty, start_train):
    process = start_train(*RUN, "run.dir=run")
    wait_for(process.stdout, "at the gate")
    process.send_signal(signal.SIGINT)
    wait_for(process.stderr, "Ctrl-C again to stop at once")
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)  # nobody opens the gate
    assert process.returncode == 130
    assert "Traceback" not in err
    assert "stopped at once" in err
    assert status_of(empty / "run") == "stopped"


@pytest.mark.slow
def test_ctrl_c_ends_the_jobs_of_hydra_s_own_sweeper_and_not_one_of_them(gate, empty, start_train):
    process = start_train("-m", *RUN, "seed=0,1,2", "hydra/sweeper=basic")
    wait_for(process.stdout, "at the gate")
    process.send_signal(signal.SIGINT)
    wait_for(process.stderr, "Ctrl-C again")
    gate.write_text("go")
    process.communicate(timeout=60)
    assert process.returncode == 130
    assert len(list(empty.rglob("summary.json"))) == 1


def test_ctrl_c_while_a_list_of_the_config_is_read_ends_with_130(run_main, empty, monkeypatch):
    # OmegaConf then trips over the half-made list while it cleans up, and raises AttributeError.
    set_item = ListConfig._set_item_impl

    def interrupted(node, index, item):
        if item == 77:
            node._get_flag("readonly")  # as it does itself
            signal.raise_signal(signal.SIGINT)
        set_item(node, index, item)

    monkeypatch.setattr(ListConfig, "_set_item_impl", interrupted)
    result = run_main("model.widths=[77]")
    assert (result.code, result.err) == (130, "stopped at once\n")
    assert list(empty.iterdir()) == []


def test_what_nohup_ignores_stays_ignored_and_all_is_put_back():
    received = []
    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    before = [signal.getsignal(number) for number in numbers]
    try:
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
        with taken_by(lambda number, frame: received.append(number)):
            for number in numbers:
                signal.raise_signal(number)
        assert received == [signal.SIGINT, signal.SIGTERM]
        assert signal.getsignal(signal.SIGHUP) == signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, before[2])
    assert [signal.getsignal(number) for number in numbers] == before


@pytest.mark.slow
@pytest.mark.parametrize("sweep", [(), ("-m", "seed=1,2", "sweep.dir=sweep")])
def test_a_terminal_that_is_closed_stops_the_run_when_it_is_saved(sweep, empty, environment):
    pid, terminal = pty.fork()
    if pid == 0:
        os.execve(
            TRAIN, ["train", *sweep, "trainer.epochs=9999", "trainer.plots=false"], environment
        )
    seen = b""
    while (b" running" if sweep else b"| validation") not in seen:
        seen += os.read(terminal, 65536)
    os.close(terminal)  # from here on whatever is written to it fails, too
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 129
    summaries = list(empty.rglob("summary.json"))
    assert {status_of(path.parent) for path in summaries} == {"stopped"}

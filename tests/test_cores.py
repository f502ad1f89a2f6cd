"""Cores that are free, beside programs that really compute; and what a run makes of them."""

import json
import logging
import os
import shutil
import subprocess
import sys
import time
from contextlib import contextmanager
from dataclasses import replace

import pytest
import torch

from trainwright import cores
from trainwright.cores import Sample, num_cores, threads_worth_having
from trainwright.engine.checkpoint import checkpoint
from trainwright.engine.device.environment import THREADS_NEXT, threads_of
from trainwright.hooks import crowded
from trainwright.hooks.crowded import Crowded
from trainwright.run.resume.verify import verify
from trainwright.runs.folder import RunFolder

LOOP = "print(flush=True)\nwhile True: pass"

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
two_cores = pytest.mark.skipif(num_cores() < 2, reason="takes two cores")


@contextmanager
def busy_loops(count):
    """So many programs, each of which computes by the time this has begun."""
    loops = [
        subprocess.Popen([sys.executable, "-c", LOOP], stdout=subprocess.PIPE) for _ in range(count)
    ]
    try:
        for loop in loops:
            loop.stdout.readline()
        yield loops
    finally:
        for loop in loops:
            loop.kill()
            loop.communicate()


@pytest.fixture
def nobody_chose(monkeypatch):
    for name in cores.CHOSEN:
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def two_threads():
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(1)


def test_what_others_use_is_what_is_left_of_all_without_our_own():
    before, after = Sample(10.0, 1.0, 100.0), Sample(12.0, 3.0, 106.0)  # others: 4 s in 2 s
    assert after.free_since(before, cores=4) == 2
    assert replace(after, by_all=102.0).free_since(before, cores=4) == 4, "we are alone"


def test_in_a_container_its_quota_counts_and_what_others_use_of_that():
    before = Sample(10.0, 1.0, 100.0, ((3.0, 50.0),))
    after = Sample(12.0, 3.0, 102.0, ((3.0, 55.0),))  # others in it: 3 s in 2 s
    assert after.free_since(before, cores=8) == 1.5


def test_quotas_and_usage_of_both_versions_of_control_groups_are_read(tmp_path):
    second, first, none = (tmp_path / name for name in ("second", "first", "none"))
    for folder, files in (
        (second, {"cpu.max": "150000 100000\n", "cpu.stat": "usage_usec 2500000\nuser_usec 1\n"}),
        (first, {"cpu.cfs_quota_us": "200000", "cpu.cfs_period_us": "100000"}),
        (none, {"cpu.max": "max 100000\n", "cpu.cfs_quota_us": "-1"}),
    ):
        folder.mkdir()
        for name, text in files.items():
            (folder / name).write_text(text)
    (first / "cpuacct.usage").write_text("2500000000\n")
    assert [cores._quota(folder) for folder in (second, first, none)] == [1.5, 2.0, None]
    assert [cores._used(folder) for folder in (second, first, none)] == [2.5, 2.5, 0.0]


def test_beside_busy_loops_one_thread_is_worth_having(nobody_chose):
    with busy_loops(3 * num_cores()):
        cores.begin_to_watch()
        assert threads_worth_having(num_cores()) == 1


def test_who_has_chosen_gets_what_was_chosen(monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "2")
    with busy_loops(3 * num_cores()):
        assert threads_worth_having(2) == 2


def test_processes_of_our_own_are_not_other_programs(monkeypatch):
    with busy_loops(1) as (loop,):
        before = cores._sample().own
        monkeypatch.setattr(cores, "started", [loop.pid])
        while cores._used_by(loop.pid) < 0.1:
            pass
        assert cores._sample().own - before >= 0.1


def looks(hook, state, monkeypatch, *paces):
    """Let the hook look every five seconds, with steps of so many seconds before each look."""
    clock, step = hook._since, 0.0
    for pace in paces:
        clock, step = clock + 5, step + 5 / pace
        monkeypatch.setattr(time, "perf_counter", lambda now=clock: now)
        state.step = round(step)
        assert hook.due(state.step, 10**6)
        hook(state, {})


@pytest.fixture
def state(assembled):
    state = assembled("trainer=smoke", "model.widths=[4]").state
    state.placement = replace(state.placement, threads=2)
    return state


@pytest.mark.parametrize("lowers", [True, False])
def test_steps_that_are_far_slower_beside_others_are_told_once(
    lowers, state, monkeypatch, nobody_chose
):
    records = []
    monkeypatch.setattr(crowded.log, "handle", records.append)
    hook = Crowded(0, lowers=lowers)
    with busy_loops(3 * num_cores()):
        looks(hook, state, monkeypatch, 0.01, 0.1, 0.1)
    (told,) = [record.getMessage() for record in records]
    assert "10.0 times" in told
    assert ("trainer.threads=1" in told) is not lowers
    assert hook.wanted == (1 if lowers else None)


def test_slow_steps_of_a_run_whose_threads_were_chosen_are_nobody_s_fault(
    state, monkeypatch, caplog
):
    monkeypatch.setattr(logging.getLogger("trainwright"), "propagate", True)
    monkeypatch.setenv("OMP_NUM_THREADS", "2")
    hook = Crowded(0, lowers=True)
    looks(hook, state, monkeypatch, 0.01, 0.1, 0.1)
    assert (hook.wanted, caplog.records) == (None, [])


def environment_of(path):
    _, metadata = checkpoint.load(path)
    return metadata["environment"]["threads"], metadata.get(THREADS_NEXT), threads_of(metadata)


@two_cores
@pytest.mark.slow
def test_a_run_goes_on_with_fewer_threads_from_a_save_on_and_says_so_to_the_bit(
    train, resume, tmp_path, monkeypatch, two_threads
):
    monkeypatch.setattr(crowded, "LOOKS", 0.0)
    monkeypatch.setattr(crowded, "SLOWER", 0.0)
    monkeypatch.setenv("OMP_NUM_THREADS", "2")  # so that it begins with two
    logger = logging.getLogger("trainwright")
    with busy_loops(3 * num_cores()):

        class Begun(logging.Handler):
            def emit(self, record):
                if "folder:" in record.getMessage():
                    cores.begin_to_watch()
                    os.environ.pop("OMP_NUM_THREADS", None)

        handler = Begun()
        logger.addHandler(handler)
        monkeypatch.setattr(logger, "level", logging.INFO)
        try:
            train(
                tmp_path / "run", "model.widths=[64]", "trainer.steps=8", "trainer.save_every=4",
                "trainer.evaluate_every=4", "trainer.threads=auto",
            )  # fmt: skip
        finally:
            logger.removeHandler(handler)
        folder = tmp_path / "run"
        summary = json.loads((folder / "summary.json").read_text())
        assert summary["threads_changed"] == [{"step": 4, "threads": 1, "before": 2}]
        assert environment_of(folder / "checkpoints/previous.safetensors") == ("2", 1, 1)
        assert environment_of(folder / "checkpoints/last.safetensors") == ("1", None, 1)
        verdict = verify(RunFolder(folder))
        assert (verdict.difference, verdict.not_exact) == (None, ())

        shutil.copytree(folder, tmp_path / "copy")
        torch.set_num_threads(2)
        resume(tmp_path / "copy/checkpoints/previous.safetensors")
    again = json.loads((tmp_path / "copy/summary.json").read_text())
    assert again["resumed"][-1]["not_exact"] == []
    assert again["threads_changed"] == summary["threads_changed"]
    mine, theirs = (
        checkpoint.load(tmp_path / name / "checkpoints/last.safetensors")[0]
        for name in ("copy", "run")
    )
    assert all(torch.equal(mine[name], theirs[name]) for name in theirs)


@two_cores
def test_a_run_keeps_its_threads_when_it_goes_on_unless_others_are_typed(
    train, resume, tmp_path, two_threads, monkeypatch
):
    monkeypatch.setenv("OMP_NUM_THREADS", "2")
    run = ("model.widths=[4]", "trainer.steps=2", "schedule=constant")
    train(tmp_path / "run", *run)
    torch.set_num_threads(1)
    last = tmp_path / "run" / "checkpoints" / "last.safetensors"
    resume(tmp_path / "run", "trainer.steps=4")
    assert environment_of(last)[0] == "2"
    resume(tmp_path / "run", "trainer.steps=6", "trainer.threads=1")
    assert environment_of(last)[0] == "1"
    records = json.loads((tmp_path / "run" / "summary.json").read_text())["resumed"]
    assert [record["not_exact"] for record in records] == [[], ["threads 2 -> 1"]]


@pytest.mark.parametrize(
    "metadata",
    [
        {},
        {"environment": []},
        {"environment": {"threads": "0"}},
        {"environment": {"threads": "9" * 400}},
        {"environment": {"threads": "²"}},
        {"environment": {"threads": "1"}, THREADS_NEXT: [1]},
        {"environment": {"threads": str(10**3)}},
    ],
)
def test_what_a_checkpoint_says_of_threads_is_checked(metadata):
    assert threads_of(metadata) is None

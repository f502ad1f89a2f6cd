"""Many launches at once get a folder each; of two resumes of one run exactly one goes on."""

import json
import multiprocessing
import os
import re
import select
import shutil
import signal
import time
from pathlib import Path

import harness
import pytest
from harness import start
from tqdm import tqdm

from trainwright.config.plan import Plan
from trainwright.engine import trainer
from trainwright.run.request import Request
from trainwright.run.run import run
from trainwright.runs.folder import RunFolder
from trainwright.runs.lock import RunLock, holder

RUN = ("model=mlp", "model.widths=[8]", "trainer.steps=3", "trainer.batch_size=16", "data.limit=64")


@pytest.fixture(scope="module")
def stopped(train, tmp_path_factory):
    """A run that was killed after its second step."""
    folder = tmp_path_factory.mktemp("stopped") / "run"

    def die_in_the_third_step():
        take_step = trainer.train_step

        def step_or_die(state, batch, settings):
            if state.step == 2:
                os.kill(os.getpid(), 9)
            return take_step(state, batch, settings)

        trainer.train_step = step_or_die
        train(folder, *RUN, "trainer.save_every=1")

    assert start(die_in_the_third_step, folder.with_name("output")).wait() == -9
    return folder


def folders_of_launches(num, tmp_path, prepare=lambda: None):
    """What children say that they have made, all of which wait for the same pipe to close."""
    closed, kept = os.pipe()

    def launch():
        os.close(kept)
        prepare()
        os.read(closed, 1)
        print(RunFolder.create(tmp_path / "outputs", "mlp-digits").path)

    children = [start(launch, tmp_path / "out" / str(n)) for n in range(num)]
    os.close(kept)
    assert [child.wait() for child in children] == [0] * num
    os.close(closed)
    return {child.text for child in children}


@pytest.mark.parametrize("num", [16, pytest.param(64, marks=pytest.mark.slow)])
def test_as_many_folders_as_launches_in_one_second(num, tmp_path):
    assert len(folders_of_launches(num, tmp_path)) == num
    made = [path for path in (tmp_path / "outputs").glob("*/*") if path.is_dir()]
    assert len(made) == num
    assert all((path / "checkpoints").is_dir() for path in made)


def test_control_where_a_folder_may_be_there_already_launches_are_seen_to_share_it(tmp_path):
    def make_or_take():
        make = Path.mkdir
        Path.mkdir = lambda path, mode=0o777, **named: make(path, mode, parents=True, exist_ok=True)

    assert len(folders_of_launches(16, tmp_path, make_or_take)) < 16


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_64_real_runs_at_once_are_64_finished_runs(composed, tmp_path):
    config = composed(*RUN, f"run.root={tmp_path / 'outputs'}")
    request = Request(Plan.of(config, name="mlp-digits", overrides=RUN))
    children = [start(lambda: run(request), tmp_path / "out" / str(number)) for number in range(64)]
    assert [child.wait() for child in children] == [0] * 64
    summaries = list((tmp_path / "outputs").glob("*/*/summary.json"))
    assert len(summaries) == 64
    assert {json.loads(path.read_text())["status"] for path in summaries} == {"finished"}


def race(resume, folder, tmp_path, *, locked=True):
    """Two children resume the run; who gets in waits in its first step until the other has ended.

    Returns the children, winner first, or None if both went on.
    """
    opened, gate = os.pipe()
    entered, report = os.pipe()

    def go_on():
        os.close(gate)
        if not locked:
            RunLock.acquire = lambda lock: lock  # in the child alone
        take_step = trainer.train_step

        def report_and_wait(*arguments):
            os.write(report, os.getpid().to_bytes(4, "little"))
            os.read(opened, 1)
            trainer.train_step = take_step
            return take_step(*arguments)

        trainer.train_step = report_and_wait
        return resume(folder)

    children = [start(go_on, tmp_path / f"output{number}") for number in (1, 2)]
    first = int.from_bytes(os.read(entered, 4), "little")
    winner, loser = sorted(children, key=lambda child: child.pid != first)
    if not locked:
        # Nothing keeps them apart: the other gets in as well, or dies of what the first one does.
        while not loser.ended() and not select.select([entered], [], [], 0.1)[0]:
            pass
    else:
        loser.wait()
    held_by = holder(folder)
    os.close(gate)
    codes = [child.wait() for child in (winner, loser)]
    for descriptor in (opened, entered, report):
        os.close(descriptor)
    return winner, loser, codes, held_by


@pytest.mark.parametrize("num_trials", [2, pytest.param(100, marks=pytest.mark.slow)])
@pytest.mark.timeout(3600)
def test_of_two_resumes_exactly_one_goes_on(num_trials, resume, stopped, tmp_path):
    for trial in range(num_trials):
        place = tmp_path / str(trial)
        shutil.copytree(stopped, place / "run")
        winner, loser, codes, held_by = race(resume, place / "run", place)
        assert codes == [0, 4], loser.text
        assert f"in use by process {winner.pid}\n" in loser.text
        assert held_by == winner.pid
        assert holder(place / "run") is None
        print(f"{trial + 1} races", flush=True)


def test_control_without_the_lock_both_are_seen_to_go_on(resume, stopped, tmp_path):
    shutil.copytree(stopped, tmp_path / "run")
    _, loser, codes, _ = race(resume, tmp_path / "run", tmp_path, locked=False)
    assert codes[1] != 4
    assert "in use" not in loser.text


def test_a_lock_goes_with_its_process_and_does_not_come_with_a_copy(tmp_path):
    waiting, kept = os.pipe()
    folder = tmp_path / "run"
    folder.mkdir()

    def hold():
        os.close(kept)
        RunLock(folder).acquire()
        print("held", flush=True)
        os.read(waiting, 1)

    child = start(hold, tmp_path / "output")
    while "held" not in child.text:
        assert not child.ended(), child.text
    assert holder(folder) == child.pid
    shutil.copytree(folder, tmp_path / "copy")
    assert holder(tmp_path / "copy") is None
    child.signal(9)
    child.wait()
    assert holder(folder) is None
    with RunLock(folder).acquire():
        assert holder(folder) == os.getpid()
        with pytest.raises(Exception, match=re.escape(f"in use by process {os.getpid()}")):
            RunLock(folder).acquire()
    assert holder(folder) is None


def write_after_a_brother_was_killed(tmp_path):
    """A child that writes a line, once another was killed while it held tqdm's lock."""

    def die_with_the_lock():
        tqdm.get_lock().acquire()
        os.kill(os.getpid(), signal.SIGKILL)

    assert start(die_with_the_lock, tmp_path / "first").wait() == -signal.SIGKILL
    return start(lambda: tqdm.write("a line"), tmp_path / "second")


def test_a_process_that_is_killed_while_it_writes_hangs_no_other(tmp_path):
    child = write_after_a_brother_was_killed(tmp_path)
    assert child.wait() == 0
    assert "a line" in child.text


def test_control_with_tqdms_own_lock_the_other_hangs(tmp_path, monkeypatch):
    monkeypatch.setattr(harness, "own_progress_lock", lambda: None)
    before = tqdm.get_lock()
    tqdm.set_lock(multiprocessing.RLock())  # what tqdm itself makes
    try:
        child = write_after_a_brother_was_killed(tmp_path)
        time.sleep(1)
        assert not child.ended()
        child.signal(signal.SIGKILL)
        child.wait()
    finally:
        tqdm.set_lock(before)

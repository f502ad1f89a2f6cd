"""SIGTERM and Ctrl-C at any moment: saved, said how to go on, gone; and the end is the same."""

import contextlib
import mmap
import os
import random
import re
import shutil
import signal
import sys
import time
from pathlib import Path

import pytest
import torch
from harness import Steps, assert_comes_to, fingerprint, in_place, let_run, pictures, start
from torch import nn

from trainwright.config.build import Section
from trainwright.data.dataset import Dataset
from trainwright.engine import trainer
from trainwright.engine.checkpoint import checkpoint
from trainwright.engine.checkpoint.tensor_file import write_tensors
from trainwright.errors import CheckpointError
from trainwright.hooks import evaluate as evaluate_hook
from trainwright.hooks.save import Save
from trainwright.run import course as course_module
from trainwright.run.resume.recover import newest_whole
from trainwright.run.resume.verify import verify
from trainwright.runs.folder import RunFolder
from trainwright.runs.metrics import read_rows
from trainwright.tasks.gan.task import GANTask
from trainwright.tasks.generated import metrics as generated_metrics

RUN = (
    "model=gan", "model.width=4", "model.latent_dim=8", "trainer.ema=0.9", "trainer.steps=24",
    "data.limit=200", "trainer.batch_size=16", "trainer.log_every=3", "trainer.evaluate_every=8",
    "trainer.save_every=5", "trainer.sample_every=7", "trainer.score_samples=200",
)  # fmt: skip


MLP = (
    "model=mlp", "model.widths=[16]", "model.dropout=0.2", "trainer.steps=40", "data.limit=200",
    "trainer.batch_size=16", "trainer.log_every=3", "trainer.evaluate_every=8",
    "trainer.save_every=5", "trainer.early_stopping.patience=99", "schedule=plateau",
)  # fmt: skip


def run_of(trial):
    """What is trained in the trial of that number: a GAN takes its time, so most often not that."""
    return (*(RUN if trial % 4 == 1 else MLP), *pictures(trial))


def signalled(work, output, steps, delays, number):
    """Start a run, and send it the signal after each of the delays, the first in its CPU time.

    Returns the child, and the steps it had done before, and after it.
    """
    child = start(steps.counted(work), output)
    before = after = 0
    for index, delay in enumerate(delays):
        if index == 0:
            let_run(child, delay)
        else:
            time.sleep(delay)
        done = steps.done
        child.signal(number)
        if index == 0:
            before, after = done, steps.done
    child.wait()
    return child, before, after


@pytest.mark.parametrize(
    ("number", "num_moments"),
    [
        (signal.SIGTERM, 2),
        pytest.param(signal.SIGTERM, 200, marks=pytest.mark.slow),
        pytest.param(signal.SIGINT, 100, marks=pytest.mark.slow),
    ],
)
@pytest.mark.timeout(7200)
def test_a_signal_at_a_random_moment_loses_no_step(
    number, num_moments, go_on, uninterrupted, tmp_path
):
    rng = random.Random(int(number))
    stopped = trial = 0
    while stopped < num_moments:
        trial += 1
        folder, output = tmp_path / f"{trial}/run", tmp_path / f"{trial}/output"
        arguments = run_of(trial)
        expected, seconds = uninterrupted(*arguments)
        steps, delays = Steps(), [rng.uniform(0, seconds)]

        def work(folder=folder, arguments=arguments):
            return go_on(folder, *arguments)

        child, before, after = signalled(work, output, steps, delays, number)
        if child.code == 0:
            continue  # it was quicker than the signal
        assert child.code in (128 + number, -number), child.text
        at_once = child.text.endswith("stopped at once\n")
        if child.code == -number or at_once or not folder.exists():
            # Before there was a run, or anything to lose; or when all of it was done.
            assert steps.done == 0 or fingerprint(folder) == expected
            continue
        stopped += 1
        saved = newest_whole(RunFolder(folder)).step
        # (A second may pass between the signal and our look at the counter.)
        assert before <= saved == steps.done <= after + 1
        assert f"trainer.resume={folder}" in child.text
        assert "Traceback" not in child.text
        assert_comes_to(expected, work, folder, output)
        shutil.rmtree(folder.parent)
        print(f"{signal.Signals(number).name}: {stopped} moments, step {saved}", flush=True)


@pytest.mark.parametrize("num_moments", [1, pytest.param(100, marks=pytest.mark.slow)])
@pytest.mark.timeout(7200)
def test_a_second_ctrl_c_at_a_random_moment_leaves_what_was_saved(
    num_moments, go_on, uninterrupted, tmp_path
):
    rng = random.Random(2)
    stopped = trial = 0
    while stopped < num_moments:
        trial += 1
        folder, output = tmp_path / f"{trial}/run", tmp_path / f"{trial}/output"
        arguments = run_of(trial)
        expected, seconds = uninterrupted(*arguments)
        delays = [rng.uniform(0, seconds), rng.uniform(0, 0.02)]

        def work(folder=folder, arguments=arguments):
            return go_on(folder, *arguments)

        child, *_ = signalled(work, output, Steps(), delays, signal.SIGINT)
        if child.code == 0:
            continue
        stopped += 1
        assert child.code in (130, -signal.SIGINT), child.text
        for path in folder.glob("checkpoints/[!.]*"):
            checkpoint.load(path)
        assert_comes_to(expected, work, folder, output)
        shutil.rmtree(folder.parent)
        print(f"twice: {stopped} moments", flush=True)


def terminate():
    signal.raise_signal(signal.SIGTERM)


def in_evaluation():
    """SIGTERM in the middle of the second evaluation."""
    calls = [0]
    measure = evaluate_hook.evaluate

    def signalled_evaluate(*arguments, **named):
        calls[0] += 1
        if calls[0] == 2:
            terminate()
        return measure(*arguments, **named)

    evaluate_hook.evaluate = signalled_evaluate
    return 16


def in_the_evaluation_at_the_end():
    """SIGTERM while what an evaluation has generated is scored, after the last step."""
    calls = [0]
    score = generated_metrics.score_metrics

    def signalled_score(judge, values):
        calls[0] += 1
        if calls[0] == 3:
            terminate()
        return score(judge, values)

    generated_metrics.score_metrics = signalled_score
    return 24


def before_an_evaluation():
    """SIGTERM in a step after which an evaluation is due."""
    take_step = trainer.train_step

    def signalled_step(state, batch, settings):
        if state.step == 15:
            terminate()
        return take_step(state, batch, settings)

    trainer.train_step = signalled_step
    return 16


def in_a_save():
    """SIGTERM between the flush of the second checkpoint and its rename."""
    calls = [0]
    flush = os.fsync

    def signalled_flush(descriptor):
        flush(descriptor)
        name = Path(f"/proc/self/fd/{descriptor}").readlink().name
        if name.endswith(".tmp"):
            calls[0] += "last" in name
            if calls[0] == 2:
                calls[0] += 1
                terminate()

    os.fsync = signalled_flush
    return 10


def in_the_first_step():
    handles = []

    def once(module, inputs):
        handles.pop().remove()
        terminate()

    handles.append(nn.modules.module.register_module_forward_pre_hook(once))
    return 1


def in_the_test_at_the_end():
    """SIGTERM when training is over."""
    finish = course_module.finish

    def signalled_finish(*arguments, **named):
        terminate()
        return finish(*arguments, **named)

    course_module.finish = signalled_finish
    return 24


@pytest.mark.parametrize(
    "moment",
    [
        in_evaluation,
        pytest.param(in_the_evaluation_at_the_end, marks=pytest.mark.slow),
        pytest.param(before_an_evaluation, marks=pytest.mark.slow),
        in_a_save,
        pytest.param(in_the_first_step, marks=pytest.mark.slow),
        pytest.param(in_the_test_at_the_end, marks=pytest.mark.slow),
    ],
)
def test_sigterm_in_this_very_moment_saves_the_step_and_ends_with_143(
    moment, train, resume, uninterrupted, tmp_path
):
    expected, _ = uninterrupted(*RUN)
    folder, saved = tmp_path / "run", tmp_path / "saved"

    def signalled_train():
        saved.write_text(str(moment()))
        return train(folder, *RUN)

    child = start(signalled_train, tmp_path / "output")
    assert child.wait() == 143, child.text
    step = int(saved.read_text())
    assert newest_whole(RunFolder(folder)).step == step
    saved_step = rf"(saved step {step}|step {step} is saved); go on: train trainer.resume={folder}"
    assert re.search(saved_step, child.text)
    assert_comes_to(expected, lambda: resume(folder), folder, tmp_path / "output")


def damaged_by_two_ctrl_c_in_a_save(train, folder, output, replacing):
    """The checkpoints that do not load after two Ctrl-C in the middle of a write of the third."""
    calls = [0]

    def interrupted_write(path, tensors, labels):
        calls[0] += "last" in path.name
        if calls[0] < 3:
            return write_tensors(path, tensors, labels)
        path.write_bytes(b"half of a file")
        signal.raise_signal(signal.SIGINT)
        signal.raise_signal(signal.SIGINT)
        raise AssertionError("it went on after two Ctrl-C")

    def work():
        checkpoint.write_tensors, checkpoint.replacing = interrupted_write, replacing
        return train(folder, *MLP)

    child = start(work, output)
    assert child.wait() == 130, child.text
    damaged = []
    for path in folder.glob("checkpoints/[!.]*"):
        try:
            checkpoint.load(path)
        except CheckpointError:
            damaged.append(path.name)
    return damaged


def test_two_ctrl_c_in_the_middle_of_a_write_leave_what_was_saved(
    train, resume, uninterrupted, tmp_path
):
    folder, output = tmp_path / "run", tmp_path / "output"
    assert damaged_by_two_ctrl_c_in_a_save(train, folder, output, checkpoint.replacing) == []
    assert_comes_to(uninterrupted(*MLP)[0], lambda: resume(folder), folder, output)


def test_control_where_a_file_is_written_in_place_two_ctrl_c_tear_it(train, tmp_path):
    folder, output = tmp_path / "run", tmp_path / "output"
    damaged = damaged_by_two_ctrl_c_in_a_save(train, folder, output, in_place)
    assert "last.safetensors" in damaged


def looks_after_a_signal(train, folder, output):
    """How many more batches an evaluation looks at once SIGTERM has come in its second."""
    seen = mmap.mmap(-1, 8)

    def work():
        look = GANTask.evaluate

        def signalled_look(task, batch):
            values = look(task, batch)
            seen[0] += 1
            if seen[0] == 2:
                terminate()
            return values

        GANTask.evaluate = signalled_look
        return train(folder, *RUN, "trainer.evaluate_batch_size=4")

    child = start(work, output)
    assert child.wait() == 143, child.text
    assert newest_whole(RunFolder(folder)).step == 8
    return seen[0] - 2


def test_an_evaluation_is_not_waited_for(train, tmp_path):
    assert looks_after_a_signal(train, tmp_path / "run", tmp_path / "output") == 0


def test_control_an_evaluation_that_cannot_be_cut_short_is_seen_to_be_waited_for(
    train, tmp_path, monkeypatch
):
    @contextlib.contextmanager
    def cannot(state):
        yield

    monkeypatch.setattr(evaluate_hook, "can_be_cut_short", cannot)
    assert looks_after_a_signal(train, tmp_path / "run", tmp_path / "output") > 5


@pytest.mark.slow
def test_a_kill_after_the_evaluation_that_was_cut_short_leaves_no_line_twice(
    train, resume, uninterrupted, tmp_path
):
    """Who goes on makes it and logs it, is killed before it saves, and who goes on then again."""
    expected, _ = uninterrupted(*RUN)
    folder, output = tmp_path / "run", tmp_path / "output"

    def stopped():
        in_evaluation()
        return train(folder, *RUN)

    def killed():
        Save.save = lambda *arguments, **named: os.kill(os.getpid(), signal.SIGKILL)
        return resume(folder)

    assert start(stopped, output).wait() == 143
    assert start(killed, output).wait() == -signal.SIGKILL
    assert newest_whole(RunFolder(folder)).step == 16
    assert [row["step"] for row in read_rows(folder)][-1] == 16
    assert_comes_to(expected, lambda: resume(folder), folder, output)


def test_a_run_whose_evaluation_was_cut_short_is_verified(train, tmp_path):
    def stopped():
        in_evaluation()
        return train(tmp_path / "run", *RUN)

    assert start(stopped, tmp_path / "output").wait() == 143
    verdict = verify(RunFolder(tmp_path / "run"))
    assert (verdict.begin, verdict.end, verdict.difference) == (15, 16, None)


def test_sigterm_while_data_is_read_leaves_no_folder(train, tmp_path):
    """As while it is downloaded: there is no run yet, and nothing to go on from."""

    def read_and_die():
        build = Section.build

        def signalled_build(section, kind, facts):
            if kind is Dataset:
                terminate()
            return build(section, kind, facts)

        Section.build = signalled_build
        return train(tmp_path / "run", *RUN)

    child = start(read_and_die, tmp_path / "output")
    assert child.wait() == -signal.SIGTERM, child.text
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_control_without_a_handler_steps_are_seen_to_be_lost(train, tmp_path, number, monkeypatch):
    monkeypatch.setattr(sys.modules[__name__], "terminate", lambda: signal.raise_signal(number))

    def unprotected():
        for each in (signal.SIGTERM, signal.SIGINT):
            signal.signal(each, signal.SIG_DFL)
        signal.signal = lambda *arguments: None  # in the child alone
        in_evaluation()
        return train(tmp_path / "run", *RUN)

    child = start(unprotected, tmp_path / "output")
    assert child.wait() == -number
    assert newest_whole(RunFolder(tmp_path / "run")).step < 16
    assert torch.get_num_threads() == 1

"""SIGKILL at any moment: the run goes on to the same end, bit for bit, and no log has a scar."""

import os
import random
import shutil
import signal
from collections import Counter
from pathlib import Path

import pytest
from harness import (
    Steps,
    assert_comes_to,
    assert_log_is_whole,
    fingerprint,
    kill_at_random,
    pictures,
    start,
)

from trainwright.data.batches import Batches
from trainwright.engine import step as step_module
from trainwright.engine import trainer
from trainwright.engine.checkpoint import checkpoint
from trainwright.engine.optim.player_optimizer import PlayerOptimizer
from trainwright.engine.schedule import Schedule
from trainwright.errors import CheckpointError
from trainwright.run.resume import recover

SMALL = (
    "trainer.batch_size=16", "trainer.log_every=3", "trainer.evaluate_every=8",
    "trainer.save_every=5", "trainer.sample_every=7",
)  # fmt: skip
RUNS = {
    "mlp": (
        "model=mlp", "model.widths=[16]", "model.dropout=0.2", "trainer.steps=40",
        "data.limit=200", "data.augment.shift=1", "schedule.warmup=10%", *SMALL,
    ),
    "cnn": (
        "model=cnn", "model.channels=[4,8]", "model.dense=[16]", "trainer.steps=30",
        "data.limit=200", "schedule=plateau", "schedule.patience=0", "optimizer=muon", *SMALL,
    ),
    "gan": (
        "model=gan", "model.width=4", "model.latent_dim=8", "trainer.ema=0.9", "trainer.steps=20",
        "data.limit=200", "trainer.score_samples=200", *SMALL,
    ),
    "folder": (
        "model=cnn", "model.channels=[4]", "model.dense=[8]", "data=folder", "data.size=16",
        "data.augment.flip=true", "trainer.ema=0.8", "trainer.steps=30", *SMALL,
    ),
}  # fmt: skip
# (kind, kills): a few in `make test`, 1,000 in all. A trial with a GAN takes three times as long.
SAMPLE = [("mlp", 2), ("gan", 2)]
ALL = [("mlp", 400), ("cnn", 250), ("gan", 100), ("folder", 250)]
MOST_KILLS_OF_A_RUN = 9


@pytest.fixture(scope="module")
def overrides(tmp_path_factory):
    """The overrides of a kind of run; those of image files come with the files."""
    root = tmp_path_factory.mktemp("images")
    generator = random.Random(0)

    def image(path: Path) -> None:
        from PIL import Image

        path.parent.mkdir(parents=True, exist_ok=True)
        Image.frombytes("RGB", (20, 16), generator.randbytes(20 * 16 * 3)).save(path)

    for number in range(120):
        image(root / "photos" / f"class{number % 3}" / f"{number:03d}.png")
    files = (f"data.path={root / 'photos'}", f"data.root={root / 'cache'}")
    return lambda kind: (*RUNS[kind], *(files if kind == "folder" else ()))


def unreadable_checkpoints(folder):
    """The files under their final names that do not load."""
    found = []
    for path in (folder / "checkpoints").glob("[!.]*"):
        try:
            checkpoint.load(path)
        except CheckpointError:
            found.append(path.name)
    return found


def quarter(steps, overrides):
    """In which quarter of its steps a run was, or that it had none behind it, or all."""
    (total,) = [int(o.partition("=")[2]) for o in overrides if o.startswith("trainer.steps=")]
    if steps.done in (0, total):
        return "before the first" if steps.done == 0 else "after the last"
    return f"quarter {1 + 4 * steps.done // total}"


@pytest.mark.parametrize(
    ("kind", "num_kills"),
    [*SAMPLE, *(pytest.param(*each, marks=pytest.mark.slow) for each in ALL)],
)
@pytest.mark.timeout(7200)
def test_a_run_killed_at_a_random_moment_goes_on_to_the_same_bits(
    kind, num_kills, go_on, overrides, uninterrupted, tmp_path
):
    rng, moments = random.Random(kind), Counter()
    trial = 0
    while moments.total() < num_kills:
        trial += 1
        arguments = (*overrides(kind), *pictures(trial))
        expected, seconds = uninterrupted(*arguments)
        folder = tmp_path / f"{trial}" / "run"
        output, steps = folder.with_name("output"), Steps()
        work = steps.counted(lambda f=folder, a=arguments: go_on(f, *a))
        for _ in range(rng.randint(1, MOST_KILLS_OF_A_RUN)):
            child = kill_at_random(work, output, rng, seconds)
            assert child.code in (-9, 0), child.text
            if child.code == 0:
                break  # it was quicker than the kill
            moments[quarter(steps, arguments)] += 1
            assert unreadable_checkpoints(folder) == []
        else:
            child = start(work, output)
            assert child.wait() == 0, child.text
        assert_log_is_whole(folder)
        assert fingerprint(folder) == expected, output.read_text()
        shutil.rmtree(folder.parent)
        print(f"{kind}: {moments.total()} kills of {trial} runs, {dict(moments)}", flush=True)


@pytest.mark.parametrize(
    ("kind", "num_kills"),
    [("mlp", 3), *(pytest.param(k, 50, marks=pytest.mark.slow) for k in RUNS)],
)
@pytest.mark.timeout(3600)
def test_many_kills_in_one_run_add_up_to_nothing(
    kind, num_kills, go_on, overrides, uninterrupted, tmp_path
):
    """A schedule that is stepped twice, or a shuffle that is replayed, would show at the end."""
    arguments, rng = overrides(kind), random.Random(kind)
    expected, seconds = uninterrupted(*arguments)
    folder, output = tmp_path / "run", tmp_path / "output"

    def work():
        return go_on(folder, *arguments)

    killed = 0
    while killed < num_kills:
        child = kill_at_random(work, output, rng, seconds / 2)
        assert child.code in (-9, 0), child.text
        killed += 1
        print(f"{kind}: {killed} kills in one run", flush=True)
        if child.code == 0:  # the end was reached too early: all over again
            assert fingerprint(folder) == expected
            folder.rename(tmp_path / f"done-{random.random()}")
            killed = 0
    assert_comes_to(expected, work, folder, output)


def killed_after_nine_steps(train, folder, arguments):
    """A run of which step 5 is saved, and steps 6, 8 and 9 are in the log."""

    def die_in_the_tenth():
        take_step = trainer.train_step

        def step_or_die(state, batch, settings):
            if state.step == 9:
                os.kill(os.getpid(), signal.SIGKILL)
            return take_step(state, batch, settings)

        trainer.train_step = step_or_die
        train(folder, *arguments)

    assert start(die_in_the_tenth, folder.with_name("output")).wait() == -signal.SIGKILL


def forget_the_optimizer():
    PlayerOptimizer.load_state_dict = lambda *arguments: None


def replay_the_shuffle():
    at = Batches.at
    Batches.at = lambda batches, step: at(batches, step - 5)


def step_the_schedule_twice():
    factor = Schedule.factor
    Schedule.factor = lambda schedule, step: factor(schedule, step + 5)


def draw_as_it_comes():
    step_module.reseed_global = lambda *parts, device: None


@pytest.mark.parametrize(
    "without",
    [
        pytest.param(forget_the_optimizer, marks=pytest.mark.slow),
        replay_the_shuffle,
        pytest.param(step_the_schedule_twice, marks=pytest.mark.slow),
        pytest.param(draw_as_it_comes, marks=pytest.mark.slow),
    ],
)
def test_control_a_resume_that_is_quietly_another_run_is_seen(
    without, train, resume, overrides, uninterrupted, tmp_path
):
    folder, arguments = tmp_path / "run", overrides("mlp")
    expected, _ = uninterrupted(*arguments)
    killed_after_nine_steps(train, folder, arguments)

    def go_on_without():
        without()
        return resume(folder)

    child = start(go_on_without, tmp_path / "output")
    assert child.wait() == 0, child.text
    found = fingerprint(folder)
    assert found["last"] != expected["last"]
    assert found["metrics"] != expected["metrics"]
    assert_log_is_whole(folder)


def test_control_a_log_that_is_not_taken_back_is_seen(train, resume, overrides, tmp_path):
    folder, arguments = tmp_path / "run", overrides("mlp")
    killed_after_nine_steps(train, folder, arguments)

    def go_on_without():
        recover.rewind = lambda path, step: None
        return resume(folder)

    child = start(go_on_without, tmp_path / "output")
    assert child.wait() == 0, child.text
    with pytest.raises(AssertionError):
        assert_log_is_whole(folder)

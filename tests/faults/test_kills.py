"""SIGKILL at any moment: the run goes on to the same end, bit for bit, and no log has a scar."""

import random
import shutil
from pathlib import Path

import pytest
from harness import (
    DRAWN_EVERY,
    assert_log_is_whole,
    drawing,
    fingerprint,
    kill_at_random,
    seconds_of,
    start,
)

from trainwright.engine import checkpoint
from trainwright.errors import CheckpointError
from trainwright.runfolder import RunFolder

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
# (kind, kills): a few in `make test`, 1,000 in all.
SAMPLE = [("mlp", 2), ("gan", 2)]
ALL = [(kind, 250) for kind in RUNS]


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


@pytest.fixture(scope="module")
def whole(train, overrides, tmp_path_factory):
    """The uninterrupted run of a kind, by the trial's number: its fingerprint and seconds."""
    made = {}

    def of(kind, trial):
        key = kind, trial % DRAWN_EVERY == 0
        if key not in made:
            folder = tmp_path_factory.mktemp("whole") / "run"
            work = drawing(trial, lambda: train(folder, *overrides(kind)))
            seconds = seconds_of(work, folder.with_name("output"))
            made[key] = fingerprint(folder), seconds
        return made[key]

    return of


def unreadable_checkpoints(folder):
    """The files under their final names that do not load."""
    found = []
    for path in (folder / "checkpoints").glob("[!.]*"):
        try:
            checkpoint.load(path)
        except CheckpointError:
            found.append(path.name)
    return found


def go_on(train, resume, folder, arguments):
    """What a person does after a kill: resume, or start anew where nothing was saved yet."""
    if RunFolder(folder).last.exists():
        return resume(folder)
    folder.rename(folder.with_name(f"{folder.name}-dead-{random.random()}"))
    return train(folder, *arguments)


@pytest.mark.parametrize(
    ("kind", "num_kills"),
    [*SAMPLE, *(pytest.param(*each, marks=pytest.mark.slow) for each in ALL)],
)
@pytest.mark.timeout(7200)
def test_a_run_killed_at_a_random_moment_goes_on_to_the_same_bits(
    kind, num_kills, train, resume, overrides, whole, tmp_path
):
    arguments, rng = overrides(kind), random.Random(kind)
    killed = trial = 0
    while killed < num_kills:
        trial += 1
        expected, seconds = whole(kind, trial)
        folder = tmp_path / f"{trial}" / "run"
        output = folder.with_name("output")
        work = drawing(trial, lambda f=folder: train(f, *arguments))
        child = kill_at_random(work, output, rng, seconds)
        if child.code != -9:
            continue  # it was quicker than the kill
        killed += 1
        if folder.exists():
            assert unreadable_checkpoints(folder) == []
            work = drawing(trial, lambda f=folder: go_on(train, resume, f, arguments))
            child = start(work, output)
            assert child.wait() == 0, child.text
            assert_log_is_whole(folder)
            assert fingerprint(folder) == expected
            shutil.rmtree(folder.parent)
        print(f"{kind}: {killed} kills", flush=True)


@pytest.mark.parametrize(
    ("kind", "num_kills"),
    [("mlp", 3), *(pytest.param(k, 50, marks=pytest.mark.slow) for k in RUNS)],
)
@pytest.mark.timeout(3600)
def test_many_kills_in_one_run_add_up_to_nothing(
    kind, num_kills, train, resume, overrides, whole, tmp_path
):
    """A schedule that is stepped twice, or a shuffle that is replayed, would show at the end."""
    expected, seconds = whole(kind, 1)
    arguments, rng = overrides(kind), random.Random(kind)
    folder = tmp_path / "run"
    killed = 0
    while killed < num_kills:
        begin = folder if folder.exists() else None
        child = kill_at_random(
            drawing(1, lambda new=begin is None: (
                train(folder, *arguments) if new else go_on(train, resume, folder, arguments)
            )),
            tmp_path / "output", rng, seconds,
        )  # fmt: skip
        assert child.code in (-9, 0), child.text
        killed += child.code == -9
        print(f"{kind}: {killed} kills in one run", flush=True)
        if child.code == 0:  # the end was reached before enough kills: once more from the start
            assert fingerprint(folder) == expected
            folder.rename(tmp_path / f"done-{random.random()}")
    if not folder.exists():
        return
    work = drawing(1, lambda: go_on(train, resume, folder, arguments))
    child = start(work, tmp_path / "output")
    assert child.wait() == 0, child.text
    assert_log_is_whole(folder)
    assert fingerprint(folder) == expected

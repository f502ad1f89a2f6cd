"""Before anything is forked: what a run imports on its way is imported once, here.

Configs are composed once too, for that takes half the time of a small run: in the parent if they
are `prepared` there, and its children find them.
"""

import copy
import shutil
import time
from pathlib import Path

import pytest
from harness import fingerprint, seconds_of, start

from trainwright.run.resume import resume_request
from trainwright.run.run import Request, run
from trainwright.runfolder import RunFolder


@pytest.fixture(scope="session", autouse=True)
def warm(train, tmp_path_factory):
    """The folder of a finished run of two steps, made in this process."""
    return train(
        tmp_path_factory.mktemp("warm") / "run", "trainer=smoke", "model.widths=[8]"
    ).folder


@pytest.fixture(scope="session")
def judged(train, tmp_path_factory):
    """The feature network by which GANs on digits are scored is there, as after a first run."""
    folder = tmp_path_factory.mktemp("judged") / "run"
    small = ("model=gan", "model.width=4", "data.limit=200", "trainer.score_samples=200")
    child = start(lambda: train(folder, *small, "trainer.steps=1"), folder.with_name("output"))
    assert child.wait() == 0, child.text


@pytest.fixture(scope="session")
def prepared(composed):
    """A copy of the config that overrides compose to; composed the first time only."""
    made = {}

    def of(*overrides):
        if overrides not in made:
            made[overrides] = composed(*overrides)
        return copy.deepcopy(made[overrides])

    of("trainer.resume=run")
    return of


@pytest.fixture(scope="session")
def train(prepared):
    """Run as `train <overrides>` does, in a folder that must be new."""

    def begin(folder: Path, *overrides: str):
        config = prepared(*overrides)
        config.run.dir = str(folder)
        return run(Request(config=config, overrides=overrides, name=folder.name))

    return begin


@pytest.fixture(scope="session")
def resume(prepared):
    """Go on as `train trainer.resume=<folder> <overrides>` does."""

    def go_on(folder: Path, *overrides: str):
        config = prepared("trainer.resume=run", *overrides)
        config.trainer.resume = str(folder)
        return run(resume_request(config, [f"trainer.resume={folder}", *overrides]))

    return go_on


@pytest.fixture(scope="session")
def go_on(train, resume):
    """What a person does: start a run, resume it, or start anew where nothing was saved yet."""

    def train_or_resume(folder: Path, *overrides: str):
        if RunFolder(folder).last.exists():
            return resume(folder)
        if folder.exists():
            folder.rename(folder.with_name(f"{folder.name}-dead-{time.monotonic_ns()}"))
        return train(folder, *overrides)

    return train_or_resume


@pytest.fixture(scope="session")
def uninterrupted(train, prepared, judged, tmp_path_factory):
    """The run of some overrides that nobody disturbs: its fingerprint and seconds of CPU time."""
    made = {}

    def of(*overrides: str):
        if overrides not in made:
            prepared(*overrides)
            folder = tmp_path_factory.mktemp("whole") / "run"
            if "data=folder" in overrides:  # images are decoded once: no part of what is measured
                output = folder.with_name("output")
                assert start(lambda: train(folder, *overrides), output).wait() == 0
                shutil.rmtree(folder)
            seconds = seconds_of(lambda: train(folder, *overrides), folder.with_name("output"))
            made[overrides] = fingerprint(folder), seconds
        return made[overrides]

    return of

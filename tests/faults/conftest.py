"""Before anything is forked: what a run imports on its way is imported once, here."""

import shutil
import time
from pathlib import Path

import pytest
from harness import fingerprint, seconds_of, start

from trainwright.run.judging import attach
from trainwright.runs.folder import RunFolder


@pytest.fixture(scope="session", autouse=True)
def warm(train, tmp_path_factory):
    """The folder of a finished run of two steps, made in this process."""
    return train(
        tmp_path_factory.mktemp("warm") / "run", "trainer=smoke", "model.widths=[8]"
    ).folder


@pytest.fixture(scope="module", autouse=True)
def _few_samples():
    """The last score of a GAN looks at as many samples as there are images, in children too."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(attach, "FINAL_SAMPLES", 200)  # 10,000 take most of a small run's time
        yield


@pytest.fixture(scope="session")
def judged(train, tmp_path_factory):
    """The feature network by which GANs on digits are scored is there, as after a first run."""
    folder = tmp_path_factory.mktemp("judged") / "run"
    small = ("model=gan", "model.width=4", "data.limit=200", "trainer.score_samples=200")
    child = start(lambda: train(folder, *small, "trainer.steps=1"), folder.with_name("output"))
    assert child.wait() == 0, child.text


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
def uninterrupted(train, composed, judged, tmp_path_factory):
    """The run of some overrides that nobody disturbs: its fingerprint and seconds of CPU time."""
    made = {}

    def of(*overrides: str):
        if overrides not in made:
            composed(*overrides)  # in the parent: its children need not read the files
            folder = tmp_path_factory.mktemp("whole") / "run"
            if "data=folder" in overrides:  # images are decoded once: no part of what is measured
                output = folder.with_name("output")
                assert start(lambda: train(folder, *overrides), output).wait() == 0
                shutil.rmtree(folder)
            seconds = seconds_of(lambda: train(folder, *overrides), folder.with_name("output"))
            made[overrides] = fingerprint(folder), seconds
        return made[overrides]

    return of

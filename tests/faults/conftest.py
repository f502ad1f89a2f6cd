"""Before anything is forked: what a run imports on its way is imported once, here."""

import pytest
from harness import drawing, start

from trainwright.scoring import attach


@pytest.fixture(scope="session", autouse=True)
def warm(train, tmp_path_factory):
    """The folder of a finished run of two steps, made in this process."""
    return train(
        tmp_path_factory.mktemp("warm") / "run", "trainer=smoke", "model.widths=[8]"
    ).folder


@pytest.fixture(scope="module", autouse=True)
def _few_samples():
    """The last score of a GAN looks at fewer samples here: they take most of a small run's time."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(attach, "FINAL_SAMPLES", 200)
        yield


@pytest.fixture(scope="session")
def judged(train, tmp_path_factory):
    """The feature network by which GANs on digits are scored is there, as after a first run."""
    folder = tmp_path_factory.mktemp("judged") / "run"
    small = ("model=gan", "model.width=4", "data.limit=200", "trainer.score_samples=200")
    work = drawing(1, lambda: train(folder, *small, "trainer.steps=1"))
    child = start(work, folder.with_name("output"))
    assert child.wait() == 0, child.text

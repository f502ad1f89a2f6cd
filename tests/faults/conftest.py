"""Before anything is forked: what a run imports on its way is imported once, here."""

import pytest


@pytest.fixture(scope="session", autouse=True)
def warm(train, tmp_path_factory):
    """The folder of a finished run of two steps, made in this process."""
    return train(
        tmp_path_factory.mktemp("warm") / "run", "trainer=smoke", "model.widths=[8]"
    ).folder

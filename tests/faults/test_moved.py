"""A run that was moved, copied, packed, or may only be read."""

import json
import os
import re
import shutil
import stat
import tempfile
from argparse import Namespace
from pathlib import Path

import pytest
from harness import fingerprint, start

from trainwright.cli.commands.manage import clean
from trainwright.config.plan import Plan
from trainwright.engine import trainer
from trainwright.errors import CheckpointError
from trainwright.runs.folder import RunFolder

RUN = (
    "model=gan", "model.width=4", "model.latent_dim=8", "trainer.steps=9", "data.limit=200",
    "trainer.batch_size=16", "trainer.evaluate_every=3", "trainer.save_every=2",
    "trainer.score_samples=200",
)  # fmt: skip


@pytest.fixture(scope="module")
def expected(train, tmp_path_factory):
    folder = tmp_path_factory.mktemp("whole") / "run"
    child = start(lambda: train(folder, *RUN), folder.with_name("output"))
    assert child.wait() == 0, child.text
    return fingerprint(folder)


@pytest.fixture(scope="module")
def killed(train, judged, tmp_path_factory):
    """A run that was killed in its sixth step."""
    folder = tmp_path_factory.mktemp("killed") / "run"

    def die_in_the_sixth_step():
        take_step = trainer.train_step

        def step_or_die(state, batch, settings):
            if state.step == 5:
                os.kill(os.getpid(), 9)
            return take_step(state, batch, settings)

        trainer.train_step = step_or_die
        train(folder, *RUN)

    assert start(die_in_the_sixth_step, folder.with_name("output")).wait() == -9
    return folder


def moved(source, to):
    shutil.copytree(source, to.with_name("original"))
    shutil.move(to.with_name("original"), to)


def packed(source, to):
    archive = shutil.make_archive(str(to.with_name("archive")), "zip", source)
    shutil.unpack_archive(archive, to)


@pytest.mark.parametrize("bring", [moved, shutil.copytree, packed])
def test_a_run_elsewhere_goes_on_to_the_same_bits(
    bring, killed, resume, expected, tmp_path, monkeypatch
):
    folder = tmp_path / "elsewhere" / "named otherwise"
    folder.parent.mkdir()
    bring(killed, folder)
    begun = started(folder)
    monkeypatch.chdir(folder.parent)
    child = start(lambda: resume(Path(folder.name)), tmp_path / "output")
    assert child.wait() == 0, child.text
    assert "resumed at step 4" in child.text
    assert fingerprint(folder) == expected
    assert started(folder) == begun


def started(folder):
    return json.loads((folder / "summary.json").read_text())["started"]


def what_knows_its_place(folder):
    """The files of a run that say where it is, but for what the console showed."""
    return {
        path.name
        for path in folder.rglob("*")
        if path.is_file() and path.name != "train.log"
        if str(folder.parent).encode() in path.read_bytes()
    }


def test_a_run_knows_no_place_and_has_no_links(killed):
    assert what_knows_its_place(killed) == set()
    assert not any(path.is_symlink() for path in killed.rglob("*"))


def test_control_a_config_that_is_kept_as_it_was_is_seen_to_know_its_place(train, tmp_path):
    def train_and_tell():
        Plan.kept = property(lambda plan: plan.config)
        return train(tmp_path / "run", "trainer=smoke", "model.widths=[8]")

    assert start(train_and_tell, tmp_path / "output").wait() == 0
    assert what_knows_its_place(tmp_path / "run") == {
        "config.yaml", "last.safetensors", "previous.safetensors", "best.safetensors",
    }  # fmt: skip


@pytest.fixture
def read_only(killed):
    """A copy of the run that nobody may write to, where others can reach it."""
    place = Path(tempfile.mkdtemp())
    place.chmod(0o755)
    folder = place / "run"
    shutil.copytree(killed, folder)
    for path in [folder, *folder.rglob("*")]:
        path.chmod(0o555 if path.is_dir() else 0o444)
    yield folder
    for path in [folder, *folder.rglob("*")]:
        path.chmod(path.stat().st_mode | stat.S_IWUSR)
    shutil.rmtree(place)


def unprivileged(function):
    def call():
        if os.getuid() == 0:  # who may write everywhere
            os.setgid(65534)
            os.setuid(65534)
        return function()

    return call


def contents(folder):
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_folder_that_may_only_be_read_ends_with_6_and_says_so(read_only, resume, tmp_path):
    before = contents(read_only)
    child = start(unprivileged(lambda: resume(read_only)), tmp_path / "output")
    assert child.wait() == 6, child.text
    assert f"cannot write to the run folder {read_only}" in child.text
    assert "Permission denied" in child.text
    assert "to go on with the run, copy the folder" in child.text
    assert contents(read_only) == before


def test_a_folder_that_may_be_written_to_in_part_is_not_cleaned_in_part(read_only, tmp_path):
    (read_only / "checkpoints").chmod(0o777)
    before = contents(read_only)
    words = Namespace(root=read_only.parent, filters=["status=killed"], yes=True)
    child = start(unprivileged(lambda: clean.execute(words)), tmp_path / "output")
    assert child.wait() == 6, child.text
    assert f"could not delete {read_only}: nothing in it was deleted" in child.text
    assert "go on" not in child.text
    assert contents(read_only) == before


@pytest.mark.parametrize("name", ["../../up", "/etc/passwd", "..", "a/../../b", "x" * 500, "a\nb"])
def test_no_name_of_a_run_leads_out_of_the_outputs_folder(name, tmp_path):
    root = tmp_path / "outputs"
    folder = RunFolder.create(root, name).path
    assert folder.resolve().parent.parent == root.resolve()
    assert re.fullmatch(r"\d{6}-[\w.-]+", folder.name)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["outputs"]


def test_a_run_that_never_saved_says_that_it_has_nothing_to_go_on_from(tmp_path, resume):
    folder = RunFolder.create(tmp_path, "run").path
    with pytest.raises(CheckpointError, match="has no checkpoint: the run ended before"):
        resume(folder)

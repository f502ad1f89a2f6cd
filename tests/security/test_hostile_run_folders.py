"""Run folders that someone made to do harm: to go on with one touches nothing outside it.

An archive may hold links, and a run writes to its files and removes some of them.
"""

import json
import os
import shlex
import shutil
import signal
from pathlib import Path

import pytest
from torch import nn

from trainwright.config.stored import resume_command
from trainwright.engine.checkpoint import checkpoint
from trainwright.errors import CheckpointError, ConfigError, DataError
from trainwright.runs.folder import RunFolder
from trainwright.runs.lock import holder

RUN = (
    "model=mlp", "model.widths=[8]", "trainer.steps=4", "trainer.batch_size=8", "data.limit=40",
    "trainer.save_every=1", "trainer.sample_every=0", "trainer.evaluate_every=0",
    "schedule=constant",
)  # fmt: skip
LONGER = "trainer.steps=6"


@pytest.fixture(scope="module")
def ended(train, tmp_path_factory):
    return train(tmp_path_factory.mktemp("ended") / "run", *RUN).folder


@pytest.fixture
def folder(ended, tmp_path):
    return shutil.copytree(ended, tmp_path / "run")


@pytest.fixture
def outside(tmp_path):
    """What belongs to the person who goes on with the run."""
    place = tmp_path / "home"
    place.mkdir()
    (place / "precious").write_text("untouched")
    (place / "000999.png").write_text("a photograph")
    return place


def contents(place):
    return {path.name: path.read_text() for path in place.iterdir()}


LINKS = {
    "train.log": "precious", "metrics.jsonl": "precious", "summary.json": "precious",
    "config.yaml": "precious", "overrides.txt": "precious", ".lock": "precious",
    "loggers.json": "precious", "samples": ".", "plots": ".", "checkpoints/deep": "precious",
    "new": "not-there-yet",
}  # fmt: skip


def sampled(values, fast):
    """Parameters, of which only those in `fast` are for the fast suite."""
    return [pytest.param(v, marks=() if v in fast else pytest.mark.slow) for v in values]


@pytest.mark.parametrize("name", sampled(LINKS, ["train.log", ".lock", "samples"]))
def test_a_link_that_leads_out_of_a_run_folder_is_not_followed(name, folder, outside, resume):
    before, path = contents(outside), folder / name
    shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
    path.symlink_to(outside / LINKS[name])
    with pytest.raises(CheckpointError, match="leads out of the run folder") as caught:
        resume(folder, LONGER)
    assert str(path) in str(caught.value)
    assert contents(outside) == before


def test_a_log_that_has_another_name_outside_is_not_written_to(folder, outside, resume, caplog):
    """A hard link cannot be seen from its own end: what has two names gets a copy of its own."""
    caplog.set_level("INFO", logger="trainwright")
    (folder / "train.log").unlink(missing_ok=True)
    (folder / "train.log").hardlink_to(outside / "precious")
    before = contents(outside)
    resume(folder, LONGER)
    assert contents(outside) == before
    assert "resumed at step 4" in (folder / "train.log").read_text()


def test_a_pipe_is_refused_and_asked_nothing(folder, resume):
    for name in ("train.log", ".lock"):
        (folder / name).unlink(missing_ok=True)
        os.mkfifo(folder / name)
        with pytest.raises(CheckpointError, match=rf"{name} .* is not a plain file"):
            resume(folder, LONGER)
        assert holder(folder) is None  # who only looks does not wait for a pipe either
        (folder / name).unlink()


def test_a_link_within_the_folder_is_no_harm(folder, resume):
    (folder / "newest").symlink_to("checkpoints/last.safetensors")
    assert resume(folder, LONGER).folder == folder


def test_the_link_that_wandb_leaves_keeps_no_run_from_going_on(tmp_path):
    """It leads to a log in the user's cache; any other link beside it is refused."""
    folder = RunFolder(tmp_path)
    logs = tmp_path / "wandb" / "offline-run-1" / "logs"
    logs.mkdir(parents=True)
    (logs / "debug-core.log").symlink_to("/nowhere/core-debug.log")
    folder.refuse_ways_out()
    (logs / "debug.log").symlink_to("/nowhere/debug.log")
    with pytest.raises(CheckpointError, match=r"debug\.log leads out of the run folder"):
        folder.refuse_ways_out()


def test_control_the_photograph_is_lost_where_links_are_followed(
    folder, outside, resume, monkeypatch
):
    monkeypatch.setattr(RunFolder, "refuse_ways_out", lambda folder: None)
    shutil.rmtree(folder / "samples")
    (folder / "samples").symlink_to(outside)
    resume(folder, LONGER)
    assert "000999.png" not in contents(outside)


JUNK = (
    b"", b"[]\n", b'"x"\n', b"\xff\xfe\0junk", b"[" * 100_000, b'{"step": null}\n{}\n',
    b'{"step": 1, "train/loss": "x"}\n', b'{"resumed": 3, "step": "x", "status": []}',
)  # fmt: skip


BESIDE = ("metrics.jsonl", "summary.json", "overrides.txt", "loggers.json")


@pytest.mark.parametrize("name", sampled(BESIDE, ["summary.json"]))
@pytest.mark.parametrize("kinds", [JUNK[-1:], pytest.param(JUNK, marks=pytest.mark.slow)], ids=len)
def test_junk_in_a_file_beside_the_checkpoints_stops_nothing(name, kinds, folder, resume):
    """Whatever it says, the run is what its checkpoint says, and its log goes on."""
    for steps, junk in enumerate(kinds, start=5):
        (folder / name).write_bytes(junk)
        resume(folder, f"trainer.steps={steps}")
        summary = json.loads((folder / "summary.json").read_text())
        assert (summary["status"], summary["step"]) == ("finished", steps)
        last = (folder / "metrics.jsonl").read_text().splitlines()[-1]
        assert json.loads(last)["step"] == steps


def test_what_a_terminal_would_obey_is_not_shown(folder, resume, capfd, caplog):
    """A name that clears the screen, or writes over what was said."""
    last = folder / "checkpoints" / "last.safetensors"
    tensors, metadata = checkpoint.load(last)
    metadata.pop("format")
    metadata["name"] = "a\x1b[2Jb"
    checkpoint.save([last], tensors, metadata)
    caplog.set_level("INFO", logger="trainwright")
    resume(folder, LONGER)
    shown = capfd.readouterr()
    assert "\x1b[2J" not in shown.out + shown.err + caplog.text
    assert "\x1b" not in (folder / "train.log").read_text()


def test_nor_are_names_of_classes(folder, resume):
    last = folder / "checkpoints" / "last.safetensors"
    tensors, metadata = checkpoint.load(last)
    metadata.pop("format")
    classes = metadata["data"]["columns"]["targets"]
    classes["names"] = [f"\x1b[31m{name}" for name in classes["names"]]
    checkpoint.save([last], tensors, metadata)
    with pytest.raises(DataError, match=r"number 0 was .*31m0, and is 0 now") as error:
        resume(folder, LONGER)
    assert "\x1b" not in str(error.value)


PLACES = {
    "logger.mlflow.tracking_uri": "http://127.0.0.1:9",
    "logger.wandb.entity": "somebody",
    "logger.tensorboard.dir": "home",
}


@pytest.fixture
def sending(folder, outside):
    """Let the checkpoint of the run send to a place of its own; returns the run's folder."""

    def to(key, value):
        _, name, argument = key.split(".")
        last = folder / "checkpoints" / "last.safetensors"
        tensors, metadata = checkpoint.load(last)
        metadata.pop("format")
        targets = {"mlflow": "mlflow.MLflow", "wandb": "wandb.WeightsAndBiases"}
        target = f"trainwright.hooks.loggers.{targets.get(name, 'tensorboard.TensorBoard')}"
        metadata["config"]["logger"] = {name: {"_target_": target, argument: value}}
        checkpoint.save([last], tensors, metadata)
        return folder

    return to


@pytest.mark.parametrize("key", sampled(PLACES, ["logger.mlflow.tracking_uri"]))
def test_a_checkpoint_cannot_choose_where_what_is_measured_is_sent(key, sending, resume):
    folder = sending(key, PLACES[key])
    with pytest.raises(ConfigError, match=rf"{key}={PLACES[key]}: the checkpoint wants") as caught:
        resume(folder, LONGER)
    assert len(str(caught.value).splitlines()) <= 5
    assert resume(folder, LONGER, "logger=none").folder == folder


def test_a_place_that_is_typed_too_is_sent_to(sending, outside, resume, caplog):
    """The control; and a name in the checkpoint leads out of that place no more."""
    key = "logger.tensorboard.dir"
    folder = sending(key, str(outside / "events"))
    last = folder / "checkpoints" / "last.safetensors"
    tensors, metadata = checkpoint.load(last)
    metadata.pop("format")
    metadata["name"] = "../../up"
    checkpoint.save([last], tensors, metadata)
    resume(folder, LONGER, f"++{key}={outside / 'events'}")
    (made,) = (outside / "events").iterdir()
    assert list(made.glob("events*"))


def test_the_command_that_is_printed_says_where_to_send_again(train, tmp_path, caplog):
    """Stopped in its first step, as by a signal."""
    caplog.set_level("INFO", logger="trainwright")
    place = f"logger.tensorboard.dir={tmp_path / 'events'}"

    def stop(module, inputs):
        handle.remove()
        signal.raise_signal(signal.SIGTERM)

    handle = nn.modules.module.register_module_forward_pre_hook(stop)
    train(tmp_path / "run", *RUN, "logger=tensorboard", place)
    assert f"go on: train trainer.resume={tmp_path / 'run'} {place}" in caplog.text


def test_the_command_to_go_on_is_typed_as_it_stands(composed):
    to = "http://127.0.0.1:9/a b"
    config = composed("logger=mlflow", f"logger.mlflow.tracking_uri='{to}'")
    words = shlex.split(resume_command(Path("/my runs/1"), config))
    assert words == ["train", "trainer.resume=/my runs/1", f"logger.mlflow.tracking_uri={to}"]


def test_the_command_to_go_on_trusts_the_classes_that_the_run_was_just_made_of(composed):
    config = composed("model._target_=mine.Net", "+data.reader={_target_: mine.Reader}")
    words = shlex.split(resume_command(Path("run"), config))
    assert words == ["train", "trainer.resume=run", "trust=[mine.Net,mine.Reader]"]

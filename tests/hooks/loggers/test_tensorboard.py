"""Event files as TensorBoard's own reader has them, against the run folder."""

import io
import json
import sys

import numpy as np
import pytest
from PIL import Image

from trainwright.errors import ConfigError

accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")


def read(folder):
    events = accumulator.EventAccumulator(
        str(folder), size_guidance={"scalars": 0, "images": 0, "tensors": 0}
    )
    return events.Reload()


def scalars(events):
    return {
        tag: [(event.step, event.value) for event in events.Scalars(tag)]
        for tag in events.Tags()["scalars"]
    }


def as_logged(rows):
    """The curves of metrics.jsonl in the precision of an event file."""
    found = {}
    for row in rows:
        for name, value in row.items():
            if name != "step" and isinstance(value, int | float):
                found.setdefault(name, []).append((row["step"], float(np.float32(value))))
    return found


@pytest.fixture(scope="module")
def interrupted(interrupt, tmp_path_factory):
    """The folder of a GAN's run that was stopped and went on."""
    return interrupt(tmp_path_factory.mktemp("interrupted") / "run", "logger=tensorboard")


def test_a_stopped_and_resumed_run_is_one_run_with_every_step_once(interrupted, rows_of):
    folder = interrupted
    events = read(folder / "tensorboard")
    rows = rows_of(folder)
    assert [row["step"] for row in rows] == list(range(1, 9))
    found = scalars(events)
    curves = as_logged(rows)
    assert {name: found[name] for name in curves} == curves
    summary = json.loads((folder / "summary.json").read_text())
    measured = {k: v for k, v in summary["test"].items() if isinstance(v, int | float)}
    assert "sliced_wasserstein" in measured
    for name, value in measured.items():
        assert found[f"test/{name}"] == [(8, float(np.float32(value)))]
    assert found["best/step"][-1] == (8, summary["best"]["step"])


def test_sample_grids_are_those_of_the_run_folder(interrupted):
    folder = interrupted
    grids = read(folder / "tensorboard").Images("samples")
    assert [grid.step for grid in grids] == [4, 8]
    for grid in grids:
        path = folder / "samples" / f"{grid.step:06d}.png"
        shown = Image.open(io.BytesIO(grid.encoded_image_string))
        assert np.array_equal(np.asarray(shown), np.asarray(Image.open(path).convert("RGB")))


def test_config_and_summary_are_there_to_be_read(train, tmp_path):
    folder = train(tmp_path / "run", "trainer=smoke", "logger=tensorboard").folder
    texts = read(folder / "tensorboard")
    config = texts.Tensors("config/text_summary")[0].tensor_proto.string_val[0].decode()
    assert '"lr": 0.001' in config
    summary = texts.Tensors("summary/text_summary")[0].tensor_proto.string_val[0].decode()
    assert '"status": "finished"' in summary


def test_a_folder_of_ones_own_has_a_folder_for_each_run(train, tmp_path):
    train(
        tmp_path / "run",
        "trainer=smoke",
        "logger=tensorboard",
        f"logger.tensorboard.dir={tmp_path}/all",
    )
    assert scalars(read(tmp_path / "all" / "run"))["train/loss"]
    assert not (tmp_path / "run" / "tensorboard").exists()


@pytest.mark.parametrize("option", ["tensorboard", "wandb", "mlflow"])
def test_a_missing_package_is_named_with_its_extra_before_anything_is_made(
    train, tmp_path, monkeypatch, option
):
    monkeypatch.setitem(sys.modules, option, None)
    with pytest.raises(ConfigError, match=rf"pip install .*\[{option}\]'"):
        train(tmp_path / "run", "data=mnist", f"data.root={tmp_path}/nothing", f"logger={option}")
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_cannot_be_written_costs_the_logger_and_not_the_run(train, tmp_path, caplog):
    (tmp_path / "file").write_text("in the way")
    caplog.set_level("WARNING")
    folder = train(
        tmp_path / "run",
        "trainer=smoke",
        "logger=tensorboard",
        f"logger.tensorboard.dir={tmp_path}/file",
    ).folder
    assert json.loads((folder / "summary.json").read_text())["status"] == "finished"
    assert "logger tensorboard is given up" in (folder / "train.log").read_text()


def test_a_logger_can_be_added_when_a_run_goes_on(train, resume, tmp_path, rows_of):
    folder = train(tmp_path / "run", "trainer=smoke", "schedule=constant").folder
    resume(folder, "trainer.steps=4", "logger=tensorboard")
    found = scalars(read(folder / "tensorboard"))
    assert [step for step, _ in found["train/loss"]] == [3, 4]

"""An image and numbers to a class: a user's data and network, and our classifier."""

import csv
import os
import subprocess
import sys

import numpy as np
import pytest
import torch
from PIL import Image

KINDS = ["dark dry", "dark wet", "bright dry", "bright wet"]
CONFIGS = {
    "data/leaves.yaml": "_target_: image_and_numbers.leaves\nnum: 120\nsplit_seed: 0\n",
    "model/both.yaml": "_target_: image_and_numbers.Both\nwidth: 8\n",
}
TRAIN = (
    *("data=leaves", "model=both", "optimizer.lr=3e-2", "trainer.steps=40"),
    *("trainer.batch_size=16", "trainer.evaluate_every=20", "trainer.log_every=1"),
    "trainer.threads=1",
)


@pytest.fixture(scope="module")
def rows(user):
    """A table that names pictures: two rows that are right, and two that are not."""
    for name, grey in (("dark", 60), ("bright", 180)):
        Image.new("RGB", (8, 8), (grey, grey, grey)).save(user.folder / f"{name}.png")
    lines = ("picture,water,mass", "dark.png,70,3.5", "bright.png,20,3.5", "no.png,20,3.5")
    (user.folder / "rows.csv").write_text("\n".join([*lines, "dark.png,moist,3.5"]) + "\n")
    return "rows.csv"


def test_it_learns_from_both_inputs(user, trained):
    # Either alone tells two pairs of classes apart, and is right half of the time.
    assert user.summary(trained)["test"]["accuracy"] > 0.75
    assert "examples of picture 3x8x8 and measures 2, 4 classes" in user.log(trained)


def test_stopped_and_resumed_it_is_to_the_bit_the_run_that_was_not(user, trained, resumed):
    assert user.has_the_bits_of(resumed, trained)


def test_it_is_evaluated_class_by_class(user, trained):
    told = user.told("evaluate", trained, "resamples=0", "--json")
    assert told["class_names"] == KINDS
    assert told["metrics"]["accuracy"]["value"] == user.summary(trained)["test"]["accuracy"]


def test_a_row_that_names_a_picture_is_predicted(user, trained, rows):
    said = user.runs("predict", trained, rows, "--csv", "on_bad=skip")
    assert said.code == 0, said.err
    assert [row["class"] for row in csv.DictReader(said.out.splitlines())] == [
        "dark wet",
        "bright dry",
    ]


def test_what_is_wrong_with_a_row_is_said_by_the_name_of_the_column(user, trained, rows):
    said = user.runs("predict", trained, rows)
    assert said.code == 3
    assert "rows.csv:4: picture no.png: cannot be read" in said.err
    assert "rows.csv:5: water is 'moist'" in said.err


def test_views_of_an_image_are_refused_where_there_are_numbers_too(user, trained):
    said = user.runs("evaluate", trained, "tta=mirror")
    assert said.code == 2
    assert "tta=mirror is for images, one an example" in said.err


def test_it_generates_nothing_and_says_so(user, trained):
    said = user.runs("sample", trained)
    assert said.code == 2
    assert "this run does not generate: it is a classifier" in said.err


def test_the_page_has_its_confusion(user, trained):
    (run,) = user.page(trained)["runs"]
    assert run["class_names"] == KINDS
    assert sum(map(sum, run["confusion"])) == 12


@pytest.mark.slow
@pytest.mark.parametrize("form", ["safetensors", "pt2", "onnx"])
def test_its_export_says_of_two_inputs_what_the_run_says(form, user, trained, rows):
    said = user.runs("export", trained, f"format={form}", f"out=export-{form}")
    assert said.code == 0, said.err
    np.save(user.folder / "picture.npy", np.full((3, 8, 8), 60, dtype=np.uint8))
    np.save(user.folder / "measures.npy", np.array([70, 3.5], dtype=np.float32))
    done = subprocess.run(
        [sys.executable, f"export-{form}/example.py", "picture.npy", "measures.npy"],
        cwd=user.folder,
        env={**os.environ, "PYTHONPATH": ".", "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    numbers = done.stdout[done.stdout.index("[[") + 2 : done.stdout.index("]]")]
    logits = torch.tensor([float(word) for word in numbers.replace(",", " ").split()])
    said = user.runs("predict", trained, rows, "--csv", "on_bad=skip")
    first = next(csv.DictReader(said.out.splitlines()))
    for name, share in zip(KINDS, logits.softmax(0).tolist(), strict=True):
        assert share == pytest.approx(float(first[name]), abs=1e-3)  # four digits are printed


@pytest.mark.slow
def test_it_is_swept_and_not_stacked_and_the_plan_says_why(user):
    said = user.train("-m", "optimizer.lr=1e-2,1e-3", "sweep.stack=on", "sweep.dir=swept")
    assert said.code == 0, said.err
    why = "only trainwright's own models are stacked, not image_and_numbers.Both"
    assert f"alone: 2 jobs: {why}" in said.out
    assert "best: optimizer.lr=" in said.out

"""The plots of a run's metrics are made from whatever lines there are."""

import math
import random
import subprocess
import sys

import pytest
from PIL import Image, ImageColor

from trainwright.report.plots.curves import plot_curves, plot_learning_rate
from trainwright.report.plots.figures import CLASS_PALETTE


def row(step, phase, **scores):
    """A line of metrics.jsonl; learning rates have no phase."""
    named = {k if k.startswith("lr") else f"{phase}/{k}": v for k, v in scores.items()}
    return {"step": step, "epoch": step / 9, **named}


def classifier_rows(num=100):
    noise = random.Random(0)
    rows = []
    for step in range(1, num + 1):
        loss = math.exp(-step / 20) + 0.1 * noise.random()
        rows.append(row(step, "train", loss=loss, lr=1e-3, grad_norm=loss))
        if step % 10 == 0:
            scores = {
                "loss": loss,
                "accuracy": 1 - loss,
                "precision": 0.5,
                "recall": 0.6,
                "f1": 0.5,
            }
            rows[-1] |= row(step, "validation", **scores)
    return [*rows, row(num, "test", loss=0.1, accuracy=0.9)]


def gan_rows(num=100):
    noise = random.Random(0)
    keys = [f"{p}/{m}" for p in ("discriminator", "generator") for m in ("loss", "grad_norm")]
    keys += ["discriminator/real", "discriminator/fake", "lr/discriminator", "lr/generator"]
    rows = [row(step, "train", **{k: noise.random() for k in keys}) for step in range(1, num + 1)]
    return [*rows, row(num, "validation", sliced_wasserstein=0.1, **dict.fromkeys(keys[:4], 0.5))]


def with_holes(rows):
    return [
        {**line, "train/loss": (None, math.nan, math.inf, "nan")[place % 4], "train/x": math.nan}
        for place, line in enumerate(rows)
    ]


def assert_is_png(path):
    with Image.open(path) as image:
        image.load()
        assert image.format == "PNG"
        assert min(image.size) > 100
        assert len(set(image.convert("L").tobytes())) > 9


@pytest.mark.parametrize(
    "rows",
    [
        pytest.param(classifier_rows(), id="classifier"),
        pytest.param(classifier_rows(1), id="one step", marks=pytest.mark.slow),
        pytest.param(gan_rows(), id="gan", marks=pytest.mark.slow),
        pytest.param(gan_rows(1)[:1], id="one row"),
        pytest.param(with_holes(classifier_rows(5)), id="holes", marks=pytest.mark.slow),
        pytest.param(with_holes(gan_rows(5)), id="gan holes"),
        pytest.param([row(0, "train", loss=0.0, lr=0.0)], id="zeros"),
        pytest.param(
            [row(s, "train", loss=10.0**-s, lr=10.0**-s) for s in range(9)],
            id="decades",
            marks=pytest.mark.slow,
        ),
    ],
)
def test_both_plots_are_made(tmp_path, rows):
    curves, rates = tmp_path / "plots" / "curves.png", tmp_path / "plots" / "lr.png"
    assert plot_curves(rows, curves)
    assert plot_learning_rate(rows, rates)
    assert_is_png(curves)
    assert_is_png(rates)
    assert {entry.name for entry in curves.parent.iterdir()} == {"curves.png", "lr.png"}


def test_each_of_ten_classes_has_a_colour_of_its_own(tmp_path):
    rows = [
        {"step": step, **{f"health/diversity/{name}": 1 + name / 10 for name in range(10)}}
        for step in range(1, 4)
    ]
    plot_curves(rows, tmp_path / "curves.png")
    with Image.open(tmp_path / "curves.png") as image:
        drawn = {colour for _, colour in image.getcolors(image.width * image.height)}
    assert {ImageColor.getrgb(colour) for colour in CLASS_PALETTE} <= drawn


@pytest.mark.parametrize("rows", [[], [row(1, "train", loss=None)]])
def test_with_nothing_to_draw_no_file_is_made(tmp_path, rows):
    assert not plot_curves(rows, tmp_path / "curves.png")
    assert not plot_learning_rate(rows, tmp_path / "lr.png")
    assert list(tmp_path.iterdir()) == []


def test_the_same_rows_give_the_same_file(tmp_path):
    for name in ("a.png", "b.png"):
        plot_learning_rate(classifier_rows(5), tmp_path / name)
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()


def test_plots_leave_matplotlib_as_it_was_and_importing_them_loads_neither_it_nor_torch(tmp_path):
    code = (
        "import sys\n"
        "from trainwright.report.plots import confusion, curves, figures, grid, predictions\n"
        "from trainwright.report.plots import series\n"
        "assert 'matplotlib' not in sys.modules\n"
        "assert 'torch' not in sys.modules\n"
        f"curves.plot_learning_rate([{{'step': 1, 'lr': 0.1}}], {str(tmp_path / 'lr.png')!r})\n"
        "assert 'matplotlib.pyplot' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


def class_rows(*classes):
    return [
        {"step": step, **{f"health/diversity/{name}": step * i for i, name in enumerate(classes)}}
        for step in (1, 2, 3)
    ]


def test_classes_are_named_as_they_are_called(tmp_path):
    """Neither is what stands between dollars a formula, nor is a class _a left out of the key."""
    pictures = []
    for number, names in enumerate([("$a_$", "b"), ("$a^$", "b"), ("_a", "b"), ("_c", "b")]):
        path = tmp_path / f"{number}.png"
        assert plot_curves(class_rows(*names), path)
        pictures.append(path.read_bytes())
    assert len(set(pictures)) == 4

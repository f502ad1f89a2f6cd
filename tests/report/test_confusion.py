"""The confusion matrix as a picture."""

import numpy as np
import pytest
import torch
from PIL import Image

from trainwright.report.letters import spelled
from trainwright.report.plots.confusion import plot_confusion


@pytest.mark.parametrize(
    "names",
    [
        ["only"],
        ["benign", "malignant"],
        [f"a rather long name of class {i}, longer than the plot" for i in range(10)],
        [f"class {i}" for i in range(21)],
        ["$1", "a_b$", r"\frac", "", "50%"],
        ["猫", "犬"],  # letters that the font has not
    ],
    ids=["one", "two", "long", "many", "odd", "far"],
)
def test_a_picture_is_made_for_any_classes(tmp_path, names):
    confusion = torch.arange(len(names) ** 2).view(len(names), len(names)) % 7
    confusion[0] = 0  # a class without examples
    path = tmp_path / "confusion.png"
    plot_confusion(confusion, names, path)
    with Image.open(path) as image:
        assert image.format == "PNG"
    assert [entry.name for entry in tmp_path.iterdir()] == ["confusion.png"]


def test_rows_are_the_truth_and_the_colour_is_the_share_of_them(tmp_path):
    # Class a is always taken for b; 3 or 3,000 examples must look the same.
    pictures = []
    for count in (3, 3000):
        path = tmp_path / f"{count}.png"
        plot_confusion(torch.tensor([[0, count], [0, count]]), ["a", "b"], path)
        with Image.open(path) as image:
            pictures.append(np.asarray(image.convert("RGB")).astype(int))
    dark = [(p[..., 2] > 90) & (p[..., 2] < 120) & (p[..., 0] < 30) for p in pictures]
    assert dark[0].sum() == pytest.approx(dark[1].sum(), rel=0.05)
    columns = np.flatnonzero(dark[0].mean(axis=0) > 0.5)  # dark over more than half the height
    rows = np.flatnonzero(dark[0].mean(axis=1) > 0.2)
    assert columns.min() > 0.4 * dark[0].shape[1]  # the right column only
    assert rows.max() - rows.min() > 0.7 * dark[0].shape[0]  # of both rows


def test_names_that_do_not_fit_the_matrix_are_refused(tmp_path):
    with pytest.raises(ValueError, match="for 3 names"):
        plot_confusion(torch.zeros(2, 2), ["a", "b", "c"], tmp_path / "confusion.png")


def test_names_that_have_to_be_spelled_out_have_room(tmp_path):
    """Where no font has them, three letters become eighteen: they printed over each other."""
    sizes = []
    names = ["猫头鹰", "狗", "猫", "鸟", "鱼"]
    for drawn in (names, [spelled(name) for name in names]):
        plot_confusion(torch.eye(5), drawn, tmp_path / "confusion.png")
        with Image.open(tmp_path / "confusion.png") as image:
            sizes.append(image.size)
    assert sizes[0] == sizes[1]

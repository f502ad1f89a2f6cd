"""Which classes a classifier takes for which: counts, coloured by share of the true class."""

import unicodedata
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from trainwright.report.letters import spelled
from trainwright.report.plots.figures import INK, new_figure, save_figure, style

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

MAX_NUMBERED = 20  # classes; with more the numbers would be unreadable
MAX_NAMED = 60  # classes; with more the names would overlap
MAX_LETTERS = 24


def plot_confusion(confusion: "ArrayLike", class_names: Sequence[str], path: str | Path) -> None:
    """Draw a confusion matrix: rows are the true classes, columns the predicted ones.

    `confusion` is (C, C) counts, `class_names` has C entries. The colour is the share of the true
    class, so that rare classes can be read too; the numbers are counts and stay out above 20
    classes. Raises ValueError where the sizes differ, OSError when the disk refuses.
    """
    from matplotlib.colors import PowerNorm

    num_classes = len(class_names)
    counts = np.asarray(confusion, dtype=np.float64)  # (C, C)
    if counts.shape != (num_classes, num_classes) or num_classes == 0:
        raise ValueError(f"expected confusion (C, C) for {num_classes} names, got {counts.shape}")
    support = counts.sum(axis=1, keepdims=True)  # (C, 1)
    share = counts / support.clip(min=1)  # a class without examples stays white

    names = list(map(spelled, class_names))
    side = min(max(0.5 * num_classes, 2.4), 8.0)  # inches
    names = [n if len(n) <= MAX_LETTERS else n[: MAX_LETTERS - 2] + ".." for n in names]
    is_named = num_classes <= MAX_NAMED
    size = 8.0 if num_classes <= MAX_NUMBERED else 5.5  # points
    # About 13 letters of 8 points fit in an inch; in place of names there are indices.
    label = max(map(_width, names)) * size / (13 * 8) if is_named else 0.3  # inches
    is_turned = is_named and label > side / num_classes
    figure = new_figure(side + 1.5 + label, side + 0.9 + (0.7 * label if is_turned else 0.1))
    axes = figure.add_subplot()
    # By the square root, since errors of a few per cent are what one looks for.
    image = axes.imshow(share, cmap="Blues", norm=PowerNorm(0.5, vmin=0, vmax=1))
    num_examples = int(support.sum())
    accuracy = counts.trace() / max(num_examples, 1)
    title = f"{accuracy:.1%} of {num_examples:,} correct"
    style(axes, title=title, xlabel="predicted", ylabel="true")
    axes.grid(False)
    axes.spines[:].set_visible(False)

    if is_named:
        axes.set_xticks(range(num_classes), names, fontsize=size)
        axes.set_yticks(range(num_classes), names, fontsize=size)
    if is_turned:
        for text in axes.get_xticklabels():
            text.set(rotation=45, horizontalalignment="right", rotation_mode="anchor")

    if num_classes <= MAX_NUMBERED:
        for row in range(num_classes):
            for column in range(num_classes):
                if counts[row, column]:  # zeros would only hide the errors
                    axes.text(
                        column,
                        row,
                        f"{int(counts[row, column])}",
                        ha="center",
                        va="center",
                        fontsize=7.5,
                        color="white" if share[row, column] > 0.3 else INK,
                    )

    bar_axes = axes.inset_axes((1.03, 0.0, 0.18 / side, 1.0))  # as high as the matrix
    bar = figure.colorbar(image, cax=bar_axes, ticks=[0, 0.01, 0.1, 0.25, 0.5, 1])
    bar.ax.set_yticklabels(["0%", "1%", "10%", "25%", "50%", "100%"])
    bar.ax.tick_params(labelsize=8, colors=INK, length=0)
    bar.set_label("share of the true class", fontsize=8.5, color=INK)
    bar.outline.set_visible(False)
    save_figure(figure, path)


def _width(name: str) -> int:
    """In letters; Chinese ones and the like are as wide as two."""
    return sum(1 + (unicodedata.east_asian_width(letter) in "WF") for letter in name)

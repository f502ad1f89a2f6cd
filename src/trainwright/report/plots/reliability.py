"""How often a classifier is right, by how sure it is: a reliability diagram."""

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from trainwright.report.plots.figures import INK, PALETTE, new_figure, save_figure, style


class Bin(Protocol):
    """Examples whose confidence lies between `low` and `high`."""

    @property
    def low(self) -> float:
        """The lower edge."""

    @property
    def high(self) -> float:
        """The upper edge."""

    @property
    def num_examples(self) -> int:
        """How many."""

    @property
    def confidence(self) -> float:
        """Their mean confidence."""

    @property
    def accuracy(self) -> float:
        """The share that is right."""


def plot_reliability(bins: Sequence[Bin], error: float, path: str | Path) -> None:
    """Draw accuracy against confidence, with the diagonal, and how many examples each bin has.

    DeGroot and Fienberg 1983; Guo et al. 2017, arXiv:1706.04599. Raises OSError.
    """
    figure = new_figure(5.0, 5.6)
    upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=(4, 1))
    filled = [b for b in bins if b.num_examples]
    upper.plot([0, 1], [0, 1], color=INK, linewidth=1, linestyle=(0, (4, 3)))
    upper.plot(
        [b.confidence for b in filled],
        [b.accuracy for b in filled],
        color=PALETTE[0],
        marker="o",
        markersize=4,
        clip_on=False,
        linewidth=1.5,
    )
    style(upper, title=f"expected calibration error {error:.3f}")
    upper.set(xlim=(0, 1), ylim=(0, 1))
    upper.set_ylabel("share that is right", fontsize=8.5, color=INK)
    lower.bar(
        [b.low for b in bins],
        [b.num_examples for b in bins],
        width=[b.high - b.low for b in bins],
        align="edge",
        color=PALETTE[0],
        edgecolor="white",
    )
    style(lower, xlabel="confidence: probability of the likeliest class")
    lower.set_ylabel("examples", fontsize=8.5, color=INK)
    save_figure(figure, path)

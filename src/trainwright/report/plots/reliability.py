"""How often a classifier is right, by how sure it is: a reliability diagram."""

from collections.abc import Sequence
from pathlib import Path

from trainwright.report.plots.figures import INK, PALETTE, new_figure, save_figure, style

Bin = tuple[float, float, int, float, float]


def plot_reliability(bins: Sequence[Bin], error: float, path: str | Path) -> None:
    """Draw accuracy against confidence, with the diagonal, and how many examples each bin has.

    A bin is its two edges, how many examples are in it, their mean confidence, and the share of
    them that is right. See DeGroot and Fienberg 1983; Guo et al. 2017, arXiv:1706.04599. Raises
    OSError.
    """
    figure = new_figure(5.0, 5.6)
    upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=(4, 1))
    low, high, counts, _, _ = zip(*bins, strict=True)
    filled = [(sure, right) for _, _, count, sure, right in bins if count]
    upper.plot([0, 1], [0, 1], color=INK, linewidth=1, linestyle=(0, (4, 3)))
    upper.plot(
        [sure for sure, _ in filled],
        [right for _, right in filled],
        color=PALETTE[0],
        marker="o",
        markersize=4,
        clip_on=False,
        linewidth=1.5,
    )
    style(upper, title=f"expected calibration error {error:.3f}", ylabel="share that is right")
    upper.set(xlim=(0, 1), ylim=(0, 1))
    lower.bar(
        low,
        counts,
        width=[end - begin for begin, end in zip(low, high, strict=True)],
        align="edge",
        color=PALETTE[0],
        edgecolor="white",
    )
    style(lower, xlabel="confidence: probability of the likeliest class", ylabel="examples")
    save_figure(figure, path)

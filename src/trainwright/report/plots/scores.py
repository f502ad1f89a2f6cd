"""The score of a generator along its run: a panel for each figure, with errors and the floor."""

import math
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from trainwright.report.plots.figures import (
    PALETTE,
    key_above,
    new_figure,
    new_panels,
    save_figure,
    style,
    value_axis,
)
from trainwright.report.score_table import FIGURES

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

PANEL = (3.2, 2.3)  # inches
COLUMNS = 4


def plot_scores(
    rows: Iterable[Mapping[str, Any]],
    floors: Mapping[str, tuple[float, float]],
    path: str | Path,
    *,
    num_samples: int,
    num_real: int,
) -> bool:
    """Draw every figure of the score against the step; say whether there was any.

    `rows` are the parsed lines of metrics.jsonl. `floors` are what real held-out images get, as
    value and standard error: a dashed line. The counts stand in the key. Bands are one
    standard error wide on either side. Without a figure no file is written. Raises OSError when
    the disk refuses.
    """
    curves: dict[str, list[tuple[float, float, float]]] = {}
    for row in rows:
        for name in FIGURES:
            value, error = (row.get(f"validation/{name}{end}") for end in ("", "_error"))
            if value is not None:
                curves.setdefault(name, []).append((row["step"], value, error or 0.0))
    if not curves:
        return False
    columns = min(COLUMNS, len(curves))
    figure, places = new_panels(len(curves), columns=columns, size=PANEL)
    for axes, (name, points) in zip(places, curves.items(), strict=True):
        steps, values, errors = np.array(points, dtype=np.float64).T
        band = (values - errors, values + errors)
        axes.fill_between(steps, *band, color=PALETTE[0], alpha=0.2, linewidth=0)
        axes.plot(
            steps, values, ".-", color=PALETTE[0], linewidth=1.4, label=f"{num_samples:,} generated"
        )
        if name in floors:
            floor, error = floors[name]
            axes.axhspan(floor - error, floor + error, color=PALETTE[1], alpha=0.15, linewidth=0)
            axes.axhline(
                floor, color=PALETTE[1], linestyle="--", linewidth=1.2, label=f"{num_real:,} real"
            )
        axes.set_xlim(left=0)
        title, better = FIGURES[name]
        # Not where the band goes below 0.
        log_from = 20 if better == "lower" and min(band[0]) > 0 else math.inf
        value_axis(axes, values, log_from=log_from)
        style(axes, title=title, xlabel="step" if axes in places[-columns:] else "")
    key_above(places[0])
    save_figure(figure, path)
    return True


def plot_logits(real: "ArrayLike", fake: "ArrayLike", path: str | Path) -> None:
    """Draw histograms of the discriminator's logits of real images (N,) and of generated (M,).

    The two overlap where it cannot tell them apart. Raises OSError when the disk refuses.
    """
    of_real, of_fake = (np.asarray(logits, dtype=np.float32) for logits in (real, fake))
    low, high = np.quantile(np.concatenate([of_real, of_fake]), [0.001, 0.999])
    edges = np.linspace(low, max(high, low + 1e-6), 41)
    figure = new_figure(6.0, 2.8)
    axes = figure.add_subplot()
    for logits, label, colour in (
        (of_real, "real", PALETTE[1]),
        (of_fake, "generated", PALETTE[0]),
    ):
        shares = np.full(len(logits), 1 / len(logits))
        clipped = logits.clip(edges[0], edges[-1])  # what lies outside is counted at the ends
        axes.hist(clipped, edges.tolist(), weights=shares, color=colour, alpha=0.5, label=label)
    title = f"discriminator: {len(of_real):,} real and {len(of_fake):,} generated images"
    style(axes, title=title, xlabel="logit: the higher, the more real it takes an image to be")
    axes.yaxis.set_major_formatter(lambda value, _: f"{100 * value:g}%")
    key_above(axes)
    save_figure(figure, path)

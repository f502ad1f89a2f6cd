"""Where in an image the reasons for an answer are, and which features of a table count."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from trainwright.report.plots.figures import INK, PALETTE, new_panels, save_figure, style

COLUMNS = 3
MOST_BARS = 30
STRONG = 0.995  # quantile of a map from which on colours are full
BLUE, RED = ((0.0, 0.45, 0.70), (0.84, 0.37, 0.0))  # of the palette


def overlay(pixels: np.ndarray, values: np.ndarray) -> np.ndarray:
    """A map (H, W) over an image (H, W, 3) uint8, (H, W, 3) uint8: red above 0, blue below."""
    faint = 0.75 + 0.25 * pixels.mean(2) / 255  # so that colours are seen on it, dark or bright
    values = np.nan_to_num(values)
    most = max(float(np.quantile(np.abs(values), STRONG)), 1e-12)
    strength = (np.clip(np.abs(values) / most, 0, 1) ** 0.7)[..., None]
    colours = np.where((values > 0)[..., None], RED, BLUE)
    blended = strength * colours + (1 - strength) * faint[..., None]
    return np.asarray(255 * blended + 0.5, dtype=np.uint8)


def draw_importance(
    names: Sequence[str],
    importances: Sequence[float],
    intervals: Sequence[tuple[float, float] | None],
    *,
    title: str,
    path: Path,
) -> None:
    """A bar for each feature, the first on top, with its interval. Raises OSError."""
    names, shown = names[:MOST_BARS], np.array(importances[:MOST_BARS])
    figure, (axes,) = new_panels(1, columns=1, size=(6.5, 1 + 0.24 * len(names)))
    style(axes, title=title)
    ends = [found or (mean, mean) for found, mean in zip(intervals, shown, strict=False)]
    error = np.abs(np.array(ends).T - shown)
    places = np.arange(len(names))
    axes.barh(places, shown, xerr=error, color=PALETTE[0], ecolor="#777777", height=0.7)
    axes.set_yticks(places, names)
    axes.invert_yaxis()
    save_figure(figure, path)


def draw_maps(
    pixels: np.ndarray,
    maps: Mapping[str, np.ndarray],
    curves: Mapping[str, np.ndarray],
    *,
    title: str,
    told: str,
    path: Path,
) -> None:
    """The image (H, W, 3) uint8, each map (H, W) over it, and the curves of deletion, by name.

    Red speaks for what is explained, blue against it; the last of the curves is grey. `told`: what
    the curves are of. Raises OSError.
    """
    figure, (first, *others, last) = new_panels(len(maps) + 2, columns=COLUMNS, size=(2.9, 3.0))
    first.imshow(pixels, interpolation="nearest")
    first.set_title(title, fontsize=10, color=INK, loc="left")
    for axes, (name, values) in zip(others, maps.items(), strict=True):
        axes.imshow(overlay(pixels, values), interpolation="nearest")
        axes.set_title(name, fontsize=10, color=INK, loc="left")
    for axes in (first, *others):
        axes.set_axis_off()
    style(last, title=f"{told} while pixels go", xlabel="share of pixels that are gone")
    inks = [*(PALETTE[(i + 2) % len(PALETTE)] for i in range(len(maps))), "#999999"]
    for colour, (name, curve) in zip(inks, curves.items(), strict=True):
        last.plot(np.linspace(0, 1, len(curve)), curve, color=colour, label=name)
    last.legend(fontsize=7, frameon=False, labelcolor=INK)
    save_figure(figure, path)

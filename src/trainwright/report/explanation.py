"""Where in an image the reasons for an answer are."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from trainwright.report.plots.figures import INK, PALETTE, new_panels, save_figure, style

COLUMNS = 3
STRONG = 0.995  # quantile of a map from which on colours are full
BLUE, RED = ((0.0, 0.45, 0.70), (0.84, 0.37, 0.0))  # of the palette


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
    faint = 0.75 + 0.25 * pixels.mean(2) / 255  # so that colours are seen on it, dark or bright
    for axes, (name, values) in zip(others, maps.items(), strict=True):
        axes.imshow(faint, cmap="gray", vmin=0, vmax=1, interpolation="nearest")
        most = max(float(np.quantile(np.abs(values), STRONG)), 1e-12)
        strength = np.clip(np.abs(values) / most, 0, 1) ** 0.7
        colours = np.where((values > 0)[..., None], RED, BLUE)
        axes.imshow(np.dstack([colours, strength]), interpolation="nearest")
        axes.set_title(name, fontsize=10, color=INK, loc="left")
    for axes in (first, *others):
        axes.set_axis_off()
    style(last, title=f"{told} while pixels go", xlabel="share of pixels that are gone")
    inks = [*PALETTE[2 : len(maps) + 2], "#999999"]
    for colour, (name, curve) in zip(inks, curves.items(), strict=True):
        last.plot(np.linspace(0, 1, len(curve)), curve, color=colour, label=name)
    last.legend(fontsize=7, frameon=False, labelcolor=INK)
    save_figure(figure, path)

"""Generated images beside the training images that are nearest to them."""

from typing import TYPE_CHECKING

from PIL import Image

from trainwright.report.grid import arrange, tiles

if TYPE_CHECKING:
    from torch import Tensor

GAP = 10  # pixels between a sample and its neighbours


def neighbour_grid(samples: "Tensor", neighbours: "Tensor") -> Image.Image:
    """A row a sample: itself, a gap, and its neighbours, the nearest first.

    `samples` is (N, C, H, W) and `neighbours` (N, K, C, H, W), both as for `image_grid`.
    Raises ValueError for shapes that do not fit.
    """
    if len(samples) != len(neighbours) or samples.shape[1:] != neighbours.shape[2:]:
        raise ValueError(
            "expected samples (N, C, H, W) and neighbours (N, K, C, H, W), got "
            f"{tuple(samples.shape)} and {tuple(neighbours.shape)}"
        )
    left = arrange(tiles(samples), columns=1)
    right = arrange(tiles(neighbours.flatten(0, 1)), columns=neighbours.shape[1])
    canvas = Image.new("RGB", (left.width + GAP + right.width, left.height), "white")
    canvas.paste(left, (0, 0))
    canvas.paste(right, (left.width + GAP, 0))
    return canvas

"""A batch of images becomes one picture. Pillow only, so that samples cost no plotting library."""

import math
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

if TYPE_CHECKING:
    from torch import Tensor

Colour = tuple[int, int, int]
WHITE: Colour = (255, 255, 255)
MIN_TILE = 48  # pixels: below this an image looks like a stamp on today's screens
GAP = 10  # pixels between a sample and its neighbours


def image_grid(
    images: "Tensor", *, columns: int, padding: int = 2, scale: int | None = None
) -> Image.Image:
    """Lay images out row by row on white, the first at the top left.

    `images` is (N, C, H, W), uint8 or floats in [0, 1] (see `tiles`). `padding` is
    the number of pixels between tiles and around all of them. Small images are enlarged by the
    integer factor `scale`, or by one that makes them at least 48 pixels long. The picture has
    min(columns, N) tiles a row and is RGB. Raises ValueError for shapes or numbers that do not fit.
    """
    return arrange(tiles(images, scale=scale), columns=columns, padding=padding)


def tiles(
    images: "Tensor", *, scale: int | None = None, min_side: int = MIN_TILE
) -> list[Image.Image]:
    """Turn each of (N, C, H, W) images into an RGB picture, `scale` times as large.

    Of two channels the first is shown, of more than three the first three. Floats are clipped to
    [0, 1] and rounded to 256 levels; NaN becomes black. Without a `scale`
    it is the smallest integer that makes the longer side at least `min_side` pixels. Enlarging
    repeats pixels: nothing is blurred that the model drew sharp.
    """
    if images.ndim != 4 or 0 in images.shape:
        raise ValueError(f"expected images (N, C, H, W), none of them 0, got {tuple(images.shape)}")
    # Of two channels a screen can show one, of more than three the first three.
    images = images[:, : 1 if images.shape[1] < 3 else 3]
    if scale is None:
        scale = math.ceil(min_side / max(images.shape[2:]))
    if scale < 1:
        raise ValueError(f"scale must be at least 1, got {scale}")
    pixels = _to_uint8(images).transpose(0, 2, 3, 1)  # (N, H, W, C)
    pixels = pixels.repeat(scale, axis=1).repeat(scale, axis=2)  # (N, H * scale, W * scale, C)
    if pixels.shape[3] == 1:
        pixels = pixels.repeat(3, axis=3)
    return [Image.fromarray(tile) for tile in pixels]


def arrange(
    pictures: Sequence[Image.Image], *, columns: int, padding: int = 2, background: Colour = WHITE
) -> Image.Image:
    """Paste pictures of one size row by row, `padding` pixels apart and from the edges.

    Raises ValueError without pictures, for less than one column, or for a negative padding.
    """
    if not pictures or columns < 1 or padding < 0:
        raise ValueError(
            "expected at least one picture, one column and no negative padding, got "
            f"{len(pictures)}, {columns} and {padding}"
        )
    columns = min(columns, len(pictures))
    rows = math.ceil(len(pictures) / columns)
    width, height = pictures[0].size
    assert all(picture.size == (width, height) for picture in pictures)
    canvas = Image.new(
        "RGB",
        (padding + columns * (width + padding), padding + rows * (height + padding)),
        background,
    )
    for index, picture in enumerate(pictures):
        row, column = divmod(index, columns)
        canvas.paste(
            picture, (padding + column * (width + padding), padding + row * (height + padding))
        )
    return canvas


def save_image(image: Image.Image, path: str | Path, **options: Any) -> None:
    """Write a picture whole or not at all, in the format of the path's suffix, with its options.

    It is written to a temporary file beside `path` and renamed over it, so a run that dies never
    leaves half a picture and a viewer that reloads never sees one. Missing folders are made.
    Raises OSError when the disk refuses and ValueError for an unknown suffix.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    # The suffix stays last: Pillow picks the format by it.
    temporary = path.with_name(f".{path.stem}.{os.getpid()}{path.suffix}")
    try:
        image.save(temporary, **options)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def _to_uint8(images: "Tensor") -> np.ndarray:
    """Return (N, C, H, W) uint8 on the CPU from uint8 or floats in [0, 1]."""
    images = images.detach().cpu()
    if images.is_floating_point():
        images = (images.float().nan_to_num(nan=0.0).clamp(0, 1) * 255).round().byte()
    pixels: np.ndarray = images.numpy()
    if pixels.dtype != np.uint8:
        raise ValueError(f"expected uint8 or floating point images, got {pixels.dtype}")
    return pixels


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

"""Where each pixel of a changed image comes from, a whole batch at a time."""

import torch
from torch import Tensor
from torch.nn import functional


def offset(draws: Tensor, reach: int) -> Tensor:
    """Uniform draws (B,) in [0, 1) to whole pixels in -reach..reach, int64."""
    return (draws * (2 * reach + 1)).long().clamp(max=2 * reach) - reach


def outside(places: Tensor, length: int) -> Tensor:
    """Which places are beyond the borders of so many pixels."""
    return (places < 0) | (places >= length)


def reflect(places: Tensor, length: int) -> Tensor:
    """Places beyond a border mirrored at the border's own pixel, to within 0..length - 1."""
    period = max(1, 2 * (length - 1))
    places = places.remainder(period)
    return torch.minimum(places, period - places)


def hole(draws: Tensor, length: int, side: int) -> Tensor:
    """Whether each of `length` places is in a hole of `side` about a drawn centre: (B, length)."""
    first = (draws * length).long().clamp(max=length - 1) - side // 2
    places = torch.arange(length, device=draws.device) - first[:, None]
    return (places >= 0) & (places < side)


def box(y: Tensor, x: Tensor, heights: Tensor, widths: Tensor, size: tuple[int, int]) -> Tensor:
    """Boxes of such shares of the sides about centres drawn uniformly: (B, H, W) bool.

    All arguments (B,); cut off where they reach beyond the image.
    """
    sides = []
    for centre, share, length in ((y, heights, size[0]), (x, widths, size[1])):
        places = torch.arange(length, device=centre.device) + 0.5  # of the pixels' middles
        sides.append((places - centre[:, None] * length).abs() < share[:, None] * length / 2)
    rows, columns = sides
    return rows[:, :, None] & columns[:, None, :]


def warp(
    images: Tensor, *, radians: Tensor, sizes: Tensor, offsets: Tensor, fill: Tensor
) -> Tensor:
    """Turn, resize, then move by `offsets` (B, 2) pixels (x, y), bilinear, all in one sampling."""
    cos, sin = radians.cos() / sizes, radians.sin() / sizes
    return affine(images, torch.stack((cos, -sin, sin, cos), 1).view(-1, 2, 2), offsets, fill)


def affine(images: Tensor, inverse: Tensor, offsets: Tensor, fill: Tensor) -> Tensor:
    """Sample each pixel from where `inverse` (B, 2, 2) times its place (x, y) about the middle is.

    First the image is moved back by `offsets` (B, 2) pixels (x, y). Outside lies `fill`.
    """
    h, w = images.shape[2:]
    # From pixels to half sides, in which the map from a result's place to its source is wanted.
    (a, b), (c, d) = (row.unbind(1) for row in inverse.unbind(1))
    inverse = torch.stack((a, b * h / w, c * w / h, d), 1).view(-1, 2, 2)
    moved = torch.stack((offsets[:, :1] * 2 / w, offsets[:, 1:] * 2 / h), 1)  # (B, 2, 1)
    theta = torch.cat((inverse, -inverse @ moved), 2).to(images.dtype)  # (B, 2, 3)
    grid = functional.affine_grid(theta, list(images.shape), align_corners=False)
    # Outside lies zero; taken relative to the background, zero is the background.
    return functional.grid_sample(images - fill, grid, align_corners=False) + fill

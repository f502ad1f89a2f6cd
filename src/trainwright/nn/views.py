"""Test-time augmentation: what a network says of an image, as the mean over views of it."""

from collections.abc import Callable
from typing import Literal, get_args

from torch import Tensor
from torch.nn import functional

TestTimeAugmentation = Literal["none", "mirror", "mirror_shift"]
PIXELS = 1  # of a shift


def check_views(tta: str, input_shape: tuple[int, ...]) -> None:
    """Raise ValueError for an unknown kind of views, or for examples that have none."""
    if tta not in get_args(TestTimeAugmentation):
        raise ValueError(f"tta={tta!r} is not one of {', '.join(get_args(TestTimeAugmentation))}")
    if tta == "none":
        return
    if len(input_shape) != 3:
        raise ValueError(f"tta={tta} is for images, one an example; leave it out")
    if tta == "mirror_shift" and min(input_shape[1:]) <= PIXELS:
        raise ValueError(f"tta={tta} needs images of at least {PIXELS + 1} pixels a side")


def mean_over_views(
    network: Callable[[Tensor], Tensor], images: Tensor, tta: TestTimeAugmentation
) -> Tensor:
    """The outputs (B, F) float32 of a network of images (B, C, H, W), averaged over their views.

    `mirror`: the image and its mirror image. `mirror_shift`: these two as they are, with half of
    the weight, and moved by one pixel up and left, and down and right, the border reflected
    (Jordan 2024, arXiv:2404.00498): six views.
    """
    if tta == "none":
        return network(images).float()
    mean = _both_ways(network, images)
    if tta == "mirror":
        return mean
    height, width = images.shape[2:]
    padded = functional.pad(images, (PIXELS,) * 4, mode="reflect")
    first = padded[:, :, :height, :width]
    last = padded[:, :, -height:, -width:]
    shifted = (_both_ways(network, first) + _both_ways(network, last)) / 2
    return (mean + shifted) / 2


def _both_ways(network: Callable[[Tensor], Tensor], images: Tensor) -> Tensor:
    return (network(images).float() + network(images.flip(-1)).float()) / 2

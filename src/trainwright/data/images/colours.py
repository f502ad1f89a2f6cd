"""Random changes to the colours of images, and TrivialAugment; pixels are from 0 to 1."""

import math
from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional

from trainwright.data.images.geometry import affine

# One is chosen for each image: Müller and Hutter 2021 (arXiv:2103.10158), their wide space.
CHANGES = (
    "identity", "shear_x", "shear_y", "translate_x", "translate_y", "rotate", "brightness",
    "colour", "contrast", "sharpness", "posterize", "solarize", "contrast_by_itself", "equalize",
)  # fmt: skip
MOST_SHEAR, MOST_TURN, MOST_BLEND = 0.99, 135.0, 0.99
MOST_TRANSLATION = 32  # pixels, and no more than the image has
FEWEST_BITS = 2  # of a posterized pixel
LUMA = (0.299, 0.587, 0.114)  # of red, green and blue in grey (ITU-R BT.601)


def jitter(pixels: Tensor, draws: Tensor, strength: float) -> Tensor:
    """Brightness, contrast and saturation, each times 1 - strength to 1 + strength.

    `pixels` (B, C, H, W) from 0 to 1; `draws` (3, B) uniform.
    """
    brightness, contrast, saturation = (1 + (2 * draws - 1) * strength)[:, :, None, None, None]
    pixels = (pixels * brightness).clamp(0, 1)
    mean = grey(pixels).mean(dim=(1, 2, 3), keepdim=True)
    pixels = torch.lerp(mean, pixels, contrast).clamp(0, 1)
    if pixels.shape[1] == 3:
        pixels = torch.lerp(grey(pixels), pixels, saturation).clamp(0, 1)
    return pixels


def grey(pixels: Tensor) -> Tensor:
    """(B, C, H, W) to (B, 1, H, W)."""
    if pixels.shape[1] != 3:
        return pixels.mean(dim=1, keepdim=True)
    red, green, blue = torch.split(pixels, 1, dim=1)
    return LUMA[0] * red + LUMA[1] * green + LUMA[2] * blue


def trivial(pixels: Tensor, draws: Tensor, *, picks: bool | None = None) -> Tensor:
    """One of `CHANGES` for each image, of a strength from 0 to its most.

    `pixels` (B, C, H, W) from 0 to 1; `draws` (3, B) uniform: which, how much, which way. `picks`:
    whether only the images that are chosen go through a change, as on a CPU; elsewhere all do, so
    that nothing waits for the device to know which these are.
    """
    picks = pixels.device.type == "cpu" if picks is None else picks
    which = (draws[0] * len(CHANGES)).long().clamp(max=len(CHANGES) - 1)
    strength, sign = draws[1], torch.where(draws[2] < 0.5, -1.0, 1.0)
    for names, change in _HOW.items():
        first = CHANGES.index(names[0])
        chosen = (which >= first) & (which < first + len(names))
        if picks:
            few = chosen.nonzero()[:, 0]
            if len(few):
                changed = change(pixels[few], which[few] - first, strength[few], sign[few])
                pixels = pixels.index_copy(0, few, changed)
        else:
            changed = change(pixels, which - first, strength, sign)
            pixels = torch.where(_of_each(chosen), changed, pixels)
    return pixels


def _moved(pixels: Tensor, which: Tensor, strength: Tensor, sign: Tensor) -> Tensor:
    """Sheared (which is 0 or 1), translated (2, 3) or turned (4); black comes in."""
    height, width = pixels.shape[2:]
    amounts = [torch.where(which == place, sign * strength, 0.0) for place in range(5)]
    shear_x, shear_y, right, down, turn = amounts
    cos, sin = (turn * math.radians(MOST_TURN)).cos(), (turn * math.radians(MOST_TURN)).sin()
    shear_x, shear_y = shear_x * MOST_SHEAR, shear_y * MOST_SHEAR
    # One of them at most is not zero, so that their order does not matter.
    inverse = torch.stack((cos, shear_x - sin, shear_y + sin, cos), 1).view(-1, 2, 2)
    reach = (min(MOST_TRANSLATION, width), min(MOST_TRANSLATION, height))
    offsets = torch.stack((right * reach[0], down * reach[1]), 1)
    return affine(pixels, inverse, offsets, pixels.new_zeros(()))


def _blend(other: Callable[[Tensor], Tensor]) -> "Change":
    """From another image, with a factor of 0, through the image itself, with 1, and beyond."""

    def change(pixels: Tensor, which: Tensor, strength: Tensor, sign: Tensor) -> Tensor:
        factor = _of_each(1 + sign * strength * MOST_BLEND)
        return torch.lerp(other(pixels), pixels, factor).clamp(0, 1)

    return change


def _posterize(pixels: Tensor, which: Tensor, strength: Tensor, sign: Tensor) -> Tensor:
    levels = 2 ** (8 - (strength * (8 - FEWEST_BITS)).round())  # that are left of 256
    step = _of_each(256 / levels)
    return ((pixels * 255).round() / step).floor() * step / 255


def _solarize(pixels: Tensor, which: Tensor, strength: Tensor, sign: Tensor) -> Tensor:
    return torch.where(pixels >= _of_each(1 - strength), 1 - pixels, pixels)


def _stretch(pixels: Tensor, which: Tensor, strength: Tensor, sign: Tensor) -> Tensor:
    """Each channel, from its darkest to its brightest, over all brightnesses."""
    low, high = pixels.amin(dim=(2, 3), keepdim=True), pixels.amax(dim=(2, 3), keepdim=True)
    stretched = (pixels - low) / (high - low).clamp(min=1e-6)
    return torch.where(high > low, stretched, pixels)


def _smooth(pixels: Tensor) -> Tensor:
    """Each pixel with its neighbours, as Pillow smooths; those at the border stay."""
    channels, height, width = pixels.shape[1:]
    if min(height, width) < 3:
        return pixels
    kernel = pixels.new_ones(channels, 1, 3, 3)
    kernel[:, :, 1, 1] = 5
    inner = functional.conv2d(pixels, kernel / 13, groups=channels)
    smooth = pixels.clone()
    smooth[:, :, 1:-1, 1:-1] = inner
    return smooth


def equalized(pixels: Tensor) -> Tensor:
    """Such that of each channel all brightnesses are equally often, as Pillow does it."""
    levels = (pixels * 255).round().long().clamp(0, 255).flatten(2)  # (B, C, H * W)
    counts = torch.zeros(*levels.shape[:2], 256, dtype=torch.int64, device=pixels.device)
    counts.scatter_add_(2, levels, torch.ones_like(levels))
    last = counts.gather(2, levels.amax(dim=2, keepdim=True))  # of the brightest that there is
    step = (levels.shape[2] - last) // 255
    before = counts.cumsum(2) - counts
    table = ((before + step // 2) // step.clamp(min=1)).clamp(max=255)
    changed = table.gather(2, levels).to(pixels.dtype).view_as(pixels) / 255
    return torch.where((step > 0)[..., None], changed, pixels)


def _of_each(values: Tensor) -> Tensor:
    """(B,) to (B, 1, 1, 1)."""
    return values[:, None, None, None]


# Of pixels, which of the names it is, how much, and which way.
Change = Callable[[Tensor, Tensor, Tensor, Tensor], Tensor]
# Names that follow each other in `CHANGES`, and what is done for them.
_HOW: dict[tuple[str, ...], Change] = {
    CHANGES[1:6]: _moved,
    ("brightness",): _blend(torch.zeros_like),
    ("colour",): _blend(lambda pixels: grey(pixels).expand_as(pixels)),
    ("contrast",): _blend(lambda pixels: grey(pixels).mean(dim=(1, 2, 3), keepdim=True)),
    ("sharpness",): _blend(_smooth),
    ("posterize",): _posterize,
    ("solarize",): _solarize,
    ("contrast_by_itself",): _stretch,
    ("equalize",): lambda pixels, which, strength, sign: equalized(pixels),
}

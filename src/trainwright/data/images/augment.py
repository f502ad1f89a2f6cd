"""Random changes to training images, a whole batch at a time on the batch's own device."""

import math
from collections.abc import Mapping

import torch
from torch import Tensor
from torch.nn import functional

from trainwright.data.columns import Column, Image
from trainwright.errors import ConfigError
from trainwright.wording import nearest

ALTERNATING = "alternating"
NUM_DRAWS = 9  # random numbers an example; as many whatever is on, so that switches don't interact


def make_augment(
    settings: Mapping[str, object] | None,
    *,
    input_shape: tuple[int, ...],
    fill: float | Tensor = 0.0,
) -> "Augment | None":
    """The augmentation that a config's `augment` asks for; None where everything is off.

    `input_shape` is (C, H, W). Raises ConfigError for an unknown key or a wrong value.
    """
    if not settings:
        return None
    options = ("shift", "crop", "flip", "rotate", "scale", "cutout")
    for key in settings:
        if key not in options:
            raise ConfigError(
                f"data.augment has no key {key!r}{nearest(str(key), options)}\n"
                f"  it accepts {', '.join(options)}"
            )
    if len(input_shape) != 3:
        if not any(settings.values()):
            return None
        raise ConfigError("data.augment is for images; this dataset holds none, so leave it out")
    side = min(input_shape[1:])
    augment = Augment(
        shift=int(_number(settings, "shift", 0, side - 1, whole=True)),
        crop=int(_number(settings, "crop", 0, side - 1, whole=True)),
        flip=_flip(settings),
        alternates=settings.get("flip") == ALTERNATING,
        rotate=_number(settings, "rotate", 0, 180),
        scale=_number(settings, "scale", 0, 0.9),
        cutout=int(_number(settings, "cutout", 0, side, whole=True)),
        fill=fill,
    )
    return augment if augment.is_on else None


def _flip(settings: Mapping[str, object]) -> float:
    """The probability of a mirror image."""
    flip = settings.get("flip", False)
    if isinstance(flip, str):
        if flip == ALTERNATING:
            return 0.5
        raise ConfigError(
            f"data.augment.flip is {flip!r}{nearest(flip, [ALTERNATING])}\n"
            f"  it must be true, false, {ALTERNATING} or a number between 0 and 1"
        )
    return 0.5 * flip if isinstance(flip, bool) else _number(settings, "flip", 0, 1)


def _number(
    settings: Mapping[str, object], key: str, low: float, high: float, *, whole: bool = False
) -> float:
    value = settings.get(key, 0)
    # `shift: false` reads as 0; true says too little.
    number = float(value) if isinstance(value, int | float) and value is not True else math.nan
    if low <= number <= high and (number.is_integer() or not whole):
        return number
    kind, limits = "a number", f"between {low} and {high}"
    if whole:  # how many pixels there may be nobody knows before data is read
        kind = "a whole number of pixels"
        limits = limits if number > high else f"of at least {low}"
    raise ConfigError(f"data.augment.{key} is {value!r}; it must be {kind} {limits}")


def augment_for(
    settings: Mapping[str, object] | None, columns: Mapping[str, Column], device: torch.device
) -> "Augment | None":
    """The augmentation of the images among these columns, or None; black as they are prepared.

    Raises ConfigError as `make_augment` does, which it is for data without images.
    """
    images = [column for column in columns.values() if isinstance(column, Image)]
    if not images:
        return make_augment(settings, input_shape=())
    # On the device, so that no batch has to wait for it.
    fill = torch.tensor(images[0].numbers.shift, device=device)
    return make_augment(settings, input_shape=images[0].shape, fill=fill)


class Augment:
    """Random flips, turns, sizes, places and blanks, drawn afresh for every example.

    `flip` is the probability of a mirror image, left to right; with `alternates` who calls says
    which are mirrored, in turns from pass to pass (Jordan 2024, arXiv:2404.00498), so
    that two passes see every example both ways. `rotate` (degrees) and `scale`
    (share) are drawn up to that much in both directions. `shift` and `crop` (pixels) both move
    the image by whole pixels, up to that many along each axis: `shift` lets `fill` in at the
    border, right for a digit on black; `crop` mirrors the image there, right for a photograph.
    `cutout` blanks a square of that side, its centre anywhere
    (DeVries and Taylor 2017, https://arxiv.org/abs/1708.04552).

    `fill` is the background on the scale of the images that come in, a number or one a channel:
    black after normalisation is (0 - mean) / std.
    """

    def __init__(
        self,
        *,
        shift: int = 0,
        crop: int = 0,
        flip: float = 0.0,
        alternates: bool = False,
        rotate: float = 0.0,
        scale: float = 0.0,
        cutout: int = 0,
        fill: float | Tensor = 0.0,
    ) -> None:
        self.shift = shift
        self.crop = crop
        self.flip = flip
        self.alternates = alternates
        self.rotate = rotate
        self.scale = scale
        self.cutout = cutout
        self.fill = torch.as_tensor(fill, dtype=torch.float32).reshape(1, -1, 1, 1)

    @property
    def is_on(self) -> bool:
        """Whether anything at all would be changed."""
        return any((self.shift, self.crop, self.flip, self.rotate, self.scale, self.cutout))

    def __call__(
        self, images: Tensor, generator: torch.Generator, *, mirrored: Tensor | None = None
    ) -> Tensor:
        """Changed copies of `images` (B, C, H, W) float, same shape, type and device.

        All randomness is drawn from `generator`, on the generator's device. `mirrored` (B,) bool:
        which images are flipped, instead of those that a draw says.
        """
        draws = torch.rand(NUM_DRAWS, len(images), generator=generator, device=generator.device)
        draws = draws.to(images.device, non_blocking=True)
        flip, turn, size, shift_y, shift_x, crop_y, crop_x, hole_y, hole_x = draws  # each (B,)
        height, width = images.shape[2:]
        fill = self.fill.to(images)
        down, right = _offset(shift_y, self.shift), _offset(shift_x, self.shift)
        if self.rotate or self.scale:
            images = _warp(
                images,
                radians=(2 * turn - 1) * math.radians(self.rotate),
                sizes=1 + (2 * size - 1) * self.scale,
                offsets=torch.stack((right, down), 1),
                fill=fill,
            )
            down, right = torch.zeros_like(down), torch.zeros_like(right)

        if mirrored is None:
            mirrored = flip < self.flip
        # Everything by whole pixels: which row and column each pixel of the result comes from.
        rows = torch.arange(height, device=images.device) - down[:, None]  # (B, H)
        columns = torch.arange(width, device=images.device) - right[:, None]  # (B, W)
        blank = _outside(rows, height)[:, :, None] | _outside(columns, width)[:, None, :]
        rows = _reflect(rows + _offset(crop_y, self.crop)[:, None], height)
        columns = _reflect(columns + _offset(crop_x, self.crop)[:, None], width)
        columns = torch.where(mirrored[:, None], width - 1 - columns, columns)
        if self.flip or self.crop or self.shift:
            source = (rows[:, :, None] * width + columns[:, None, :]).flatten(1)  # (B, H * W)
            source = source[:, None].expand(-1, images.shape[1], -1)
            images = images.flatten(2).gather(2, source).view_as(images)
        if self.cutout:
            hole_rows = _hole(hole_y, height, self.cutout)  # (B, H)
            hole_columns = _hole(hole_x, width, self.cutout)  # (B, W)
            blank = blank | (hole_rows[:, :, None] & hole_columns[:, None, :])
        if self.cutout or self.shift:
            images = torch.where(blank[:, None], fill, images)
        return images


def _offset(draws: Tensor, reach: int) -> Tensor:
    """Uniform draws (B,) in [0, 1) to whole pixels in -reach..reach, int64."""
    return (draws * (2 * reach + 1)).long().clamp(max=2 * reach) - reach


def _outside(places: Tensor, length: int) -> Tensor:
    return (places < 0) | (places >= length)


def _reflect(places: Tensor, length: int) -> Tensor:
    """Places beyond a border mirrored at the border's own pixel, to within 0..length - 1."""
    period = max(1, 2 * (length - 1))
    places = places.remainder(period)
    return torch.minimum(places, period - places)


def _hole(draws: Tensor, length: int, side: int) -> Tensor:
    """Whether each of `length` places is in a hole of `side` about a drawn centre: (B, length)."""
    first = (draws * length).long().clamp(max=length - 1) - side // 2
    places = torch.arange(length, device=draws.device) - first[:, None]
    return (places >= 0) & (places < side)


def _warp(
    images: Tensor, *, radians: Tensor, sizes: Tensor, offsets: Tensor, fill: Tensor
) -> Tensor:
    """Turn, resize, then move by `offsets` (B, 2) pixels (x, y), bilinear, all in one sampling."""
    h, w = images.shape[2:]
    cos, sin = radians.cos() / sizes, radians.sin() / sizes
    # The map runs from a place in the result to the place it comes from, in units of half sides.
    inverse = torch.stack((cos, -sin * h / w, sin * w / h, cos), 1).view(-1, 2, 2)
    moved = torch.stack((offsets[:, :1] * 2 / w, offsets[:, 1:] * 2 / h), 1)  # (B, 2, 1)
    theta = torch.cat((inverse, -inverse @ moved), 2).to(images.dtype)  # (B, 2, 3)
    grid = functional.affine_grid(theta, list(images.shape), align_corners=False)
    # Outside lies zero; taken relative to the background, zero is the background.
    return functional.grid_sample(images - fill, grid, align_corners=False) + fill

"""Random changes to training images, a whole batch at a time on the batch's own device."""

import math
from collections.abc import Mapping

import torch
from torch import Tensor

from trainwright.data.columns import Column, Image
from trainwright.data.images.colours import jitter, trivial
from trainwright.data.images.draws import Rows, uniform
from trainwright.data.images.geometry import box, hole, offset, outside, reflect, warp
from trainwright.errors import ConfigError
from trainwright.wording import nearest

ALTERNATING = "alternating"
NUM_DRAWS = 9  # random numbers an example; as many whatever is on, so that switches don't interact
MORE_DRAWS = 11  # for colours, TrivialAugment and erasing
ERASED = (0.02, 0.33)  # the least and the most of an image that is erased
MOST_OBLONG = 3.3  # times as high as wide, or as wide as high


def make_augment(
    settings: Mapping[str, object] | None,
    *,
    input_shape: tuple[int, ...],
    fill: float | Tensor = 0.0,
    white: float | Tensor = 1.0,
) -> "Augment | None":
    """The augmentation that a config's `augment` asks for; None where everything is off.

    `input_shape` is (C, H, W). Raises ConfigError for an unknown key or a wrong value.
    """
    if not settings:
        return None
    options = ("shift", "crop", "flip", "rotate", "scale", "cutout", "colour", "erase", "trivial",
               "mixup", "cutmix")  # fmt: skip
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
        colour=_number(settings, "colour", 0, 1),
        erase=_number(settings, "erase", 0, 1),
        trivial=_switch(settings, "trivial"),
        fill=fill,
        white=white,
    )
    for mixed in ("mixup", "cutmix"):  # by `mixing.py`
        _number(settings, mixed, 0, 100)
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


def _switch(settings: Mapping[str, object], key: str) -> bool:
    value = settings.get(key, False)
    if not isinstance(value, bool):
        raise ConfigError(f"data.augment.{key} is {value!r}; it must be true or false")
    return value


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
    scale, shift = (torch.tensor(n, device=device) for n in images[0].numbers)
    return make_augment(
        settings, input_shape=images[0].shape, fill=shift, white=255 * scale + shift
    )


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

    `trivial` makes one more change to each image (`colours.trivial`), before all others. `colour`
    multiplies brightness, contrast and saturation by 1 - colour to 1 + colour. `erase` is the
    probability that a box becomes the mean colour, last of all (Zhong et al. 2020,
    arXiv:1708.04896).

    `fill` is black on the scale of the images that come in, a number or one a channel: after
    normalisation (0 - mean) / std. `white` is the other end.
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
        colour: float = 0.0,
        erase: float = 0.0,
        trivial: bool = False,
        fill: float | Tensor = 0.0,
        white: float | Tensor = 1.0,
    ) -> None:
        self.shift = shift
        self.crop = crop
        self.flip = flip
        self.alternates = alternates
        self.rotate = rotate
        self.scale = scale
        self.cutout = cutout
        self.colour = colour
        self.erase = erase
        self.trivial = trivial
        self.fill = torch.as_tensor(fill, dtype=torch.float32).reshape(1, -1, 1, 1)
        self.white = torch.as_tensor(white, dtype=torch.float32).reshape(1, -1, 1, 1)

    @property
    def is_on(self) -> bool:
        """Whether anything at all would be changed."""
        moves = (self.shift, self.crop, self.flip, self.rotate, self.scale, self.cutout)
        return any(moves) or self._has_more

    @property
    def _has_more(self) -> bool:
        return self.trivial or self.colour > 0 or self.erase > 0

    def __call__(
        self,
        images: Tensor,
        generator: torch.Generator,
        *,
        mirrored: Tensor | None = None,
        rows_of: Rows | None = None,
    ) -> Tensor:
        """Changed copies of `images` (B, C, H, W) float, same shape, type and device.

        All randomness is drawn from `generator`, on the generator's device. `mirrored` (B,) bool:
        which images are flipped, instead of those that a draw says. `rows_of`: which rows (B,) of
        a batch of how many they are, for all of which is drawn.
        """
        draws = uniform(NUM_DRAWS, images, generator, rows_of)
        flip, turn, size, shift_y, shift_x, crop_y, crop_x, hole_y, hole_x = draws  # each (B,)
        height, width = images.shape[2:]
        fill = self.fill.to(images)
        if self._has_more:
            more = uniform(MORE_DRAWS, images, generator, rows_of)
            images = self._coloured(images, more[:6])
        down, right = offset(shift_y, self.shift), offset(shift_x, self.shift)
        if self.rotate or self.scale:
            images = warp(
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
        blank = outside(rows, height)[:, :, None] | outside(columns, width)[:, None, :]
        rows = reflect(rows + offset(crop_y, self.crop)[:, None], height)
        columns = reflect(columns + offset(crop_x, self.crop)[:, None], width)
        columns = torch.where(mirrored[:, None], width - 1 - columns, columns)
        if self.flip or self.crop or self.shift:
            source = (rows[:, :, None] * width + columns[:, None, :]).flatten(1)  # (B, H * W)
            source = source[:, None].expand(-1, images.shape[1], -1)
            images = images.flatten(2).gather(2, source).view_as(images)
        if self.cutout:
            hole_rows = hole(hole_y, height, self.cutout)  # (B, H)
            hole_columns = hole(hole_x, width, self.cutout)  # (B, W)
            blank = blank | (hole_rows[:, :, None] & hole_columns[:, None, :])
        if self.cutout or self.shift:
            images = torch.where(blank[:, None], fill, images)
        if self.erase:
            images = self._erased(images, more[6:])
        return images

    def _coloured(self, images: Tensor, draws: Tensor) -> Tensor:
        """TrivialAugment and the jitter of colours, on pixels from 0 to 1."""
        if not (self.trivial or self.colour):
            return images
        black, white = self.fill.to(images), self.white.to(images)
        pixels = (images - black) / (white - black)
        if self.trivial:
            pixels = trivial(pixels, draws[:3])
        if self.colour:
            pixels = jitter(pixels, draws[3:], self.colour)
        return torch.addcmul(black, pixels, white - black)

    def _erased(self, images: Tensor, draws: Tensor) -> Tensor:
        """With a box of the mean colour, which is 0, in as many of them as `erase` says."""
        coin, area, oblong, y, x = draws
        area = ERASED[0] + (ERASED[1] - ERASED[0]) * area
        ratio = MOST_OBLONG ** (2 * oblong - 1)  # height over width, as often below 1 as above
        heights, widths = (area * ratio).sqrt(), (area / ratio).sqrt()
        blank = box(y, x, heights, widths, (images.shape[2], images.shape[3]))
        blank = blank & (coin < self.erase)[:, None, None]
        return images.masked_fill(blank[:, None], 0.0)

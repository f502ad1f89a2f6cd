"""One image file becomes one array of a fixed size, or a reason why not."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Literal

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from PIL import Image, ImageFile

MOST_PIXELS = 64_000_000
LARGE_PIXELS = 8_000_000

Fit = Literal["crop", "pad", "stretch"]


class BadImageError(Exception):
    """Why a file cannot be used; the message is half a line."""


def decode_image(
    path: Path | BinaryIO,
    *,
    size: int | tuple[int, int],
    channels: int,
    fit: Fit,
    before_large: Callable[[], None] = lambda: None,
) -> NDArray[np.uint8]:
    """The image as (channels, height, width) uint8, upright, its first frame where it moves.

    `size` is (height, width), or both of them.

    PNG, JPEG and WebP are told by content. Transparent parts become black; 16-bit grey is
    rounded to 8 bits, CMYK and palettes are converted. `fit` crops the middle, pads with black,
    or stretches. Raises BadImageError for anything else and above 64 million pixels, which is
    seen in the header before anything is decoded. `before_large` is called before one of more
    than 8 million is decoded, for those who decode several at a time.
    """
    from PIL import Image, UnidentifiedImageError

    try:
        with Image.open(path, formats=("PNG", "JPEG", "WEBP")) as image:
            pixels = image.width * image.height
            if pixels > MOST_PIXELS:
                raise BadImageError(_too_many(f"{image.width} x {image.height}"))
            if pixels > LARGE_PIXELS:
                before_large()
            sides = (size, size) if isinstance(size, int) else size
            return _to_array(image, sides, channels=channels, fit=fit)
    except BadImageError:
        raise
    except (Image.DecompressionBombWarning, Image.DecompressionBombError) as error:
        raise BadImageError(_too_many("its header says")) from error
    except UnidentifiedImageError as error:
        raise BadImageError("not a PNG, JPEG or WebP image, or a damaged one") from error
    except MemoryError:
        raise
    except Exception as error:  # decoders raise whatever they like for a damaged file
        if isinstance(error, OSError) and error.strerror:
            raise BadImageError(f"cannot be read: {error.strerror}") from error
        reason = str(error).splitlines()[0][:80] if str(error) else type(error).__name__
        raise BadImageError(f"damaged: {reason}") from error


def _too_many(found: str) -> str:
    return f"too many pixels ({found}; at most {MOST_PIXELS:,})"


def _to_array(
    image: "ImageFile.ImageFile", size: tuple[int, int], *, channels: int, fit: Fit
) -> NDArray[np.uint8]:
    from PIL import Image, ImageOps

    # A JPEG can be decoded at a fraction of its size: far faster, and still twice too large.
    height, width = size
    larger = 2 * max(size)  # an upright image may lie on its side in the file
    image.draft("L" if channels == 1 else "RGB", (larger, larger))
    upright = ImageOps.exif_transpose(_with_alpha(image))
    plain = _to_mode(upright, "L" if channels == 1 else "RGB")
    if plain.size == (width, height):
        fitted = plain
    elif fit == "crop":
        fitted = ImageOps.fit(plain, (width, height), Image.Resampling.BICUBIC)
    elif fit == "stretch":
        fitted = plain.resize((width, height), Image.Resampling.BICUBIC)
    else:
        ratio = min(width / plain.width, height / plain.height)
        across, down = (max(1, round(side * ratio)) for side in plain.size)
        small = plain.resize((across, down), Image.Resampling.BICUBIC)
        fitted = Image.new(plain.mode, (width, height))
        fitted.paste(small, ((width - across) // 2, (height - down) // 2))
    array = np.asarray(fitted).reshape(height, width, channels)
    return array.transpose(2, 0, 1).copy()  # (H, W, C) -> (C, H, W), which may be written to


def _with_alpha(image: "ImageFile.ImageFile") -> "Image.Image":
    """A PNG in which one grey or colour is transparent (tRNS), with alpha that says where it is.

    Pillow compares that value, which has the file's depth, with pixels that it has brought to 8
    bits: of any other depth it finds none, or wrong ones.
    """
    from PIL import Image

    clear, stored = image.info.get("transparency"), image.tile[0][3] if image.tile else ""
    if image.format != "PNG" or clear is None:
        return image
    if stored in ("L;2", "L;4"):
        largest = 3 if stored == "L;2" else 15
        is_clear = np.asarray(image) == (clear & largest) * (255 // largest)
    elif stored == "I;16B":
        is_clear = np.asarray(image) == clear
    elif stored == "RGB;16B":  # of the two bytes of each colour Pillow keeps the first
        with Image.open(image.filename, formats=("PNG",)) as second:
            second.tile = [tile._replace(args="RGB;16L") for tile in second.tile]
            colours = np.asarray(image).astype(np.uint16) << 8 | np.asarray(second)
        is_clear = (colours == clear).all(2)
    else:
        return image
    seen = _in_bytes(image) if stored == "I;16B" else image.copy()
    seen.info = {key: value for key, value in image.info.items() if key != "transparency"}
    seen.putalpha(Image.fromarray(np.where(is_clear, 0, 255).astype(np.uint8)))
    return seen


def _in_bytes(grey: "Image.Image") -> "Image.Image":
    """Grey of 16 bits, rounded to 8."""
    from PIL import Image

    return Image.fromarray((np.asarray(grey).astype(np.float32) / 257).round().astype(np.uint8))


def _to_mode(image: "Image.Image", mode: str) -> "Image.Image":
    from PIL import Image

    if image.mode.startswith("I;16"):
        return _in_bytes(image).convert(mode)
    if image.mode in ("I", "F"):
        raise BadImageError(f"pixels of type {image.mode}, neither 8 nor 16 bits")
    if image.has_transparency_data:
        layered = image.convert("RGBA")
        black = Image.new("RGBA", layered.size, (0, 0, 0, 255))
        return Image.alpha_composite(black, layered).convert(mode)
    return image.convert(mode)

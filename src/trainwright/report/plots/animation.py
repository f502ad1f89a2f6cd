"""Sample grids of a run, one after the other, as a moving picture. Pillow only."""

import os
import re
from pathlib import Path
from typing import TYPE_CHECKING

from trainwright.errors import ConfigError, DataError

if TYPE_CHECKING:
    from PIL import Image

MAX_FRAMES = 200
MOST_PIXELS = 16_000_000  # of a frame
FRAME_MILLISECONDS = 200
LAST_MILLISECONDS = 2000  # the last picture is what one wants to look at
_NUMBERED = re.compile(r"\d{1,12}\.png")
_TEXTS = re.compile(r"\d{1,12}\.(txt|csv)")


def animate(folder: Path, path: Path) -> int:
    """Write the numbered PNG files of `folder` as a GIF or WebP; return how many frames it has.

    The format is that of the suffix of `path`, which is written whole or not at all. Of more than
    200 pictures as many are taken, evenly spread, the first and the last among them. Raises
    ConfigError where what a run shows are texts, DataError where there are fewer than two pictures,
    or one is damaged, OSError when the disk refuses.
    """
    try:
        names = [p.name for p in folder.iterdir() if p.is_file()]
    except OSError:
        names = []
    found = [folder / name for name in names if _NUMBERED.fullmatch(name)]
    if not found and (texts := sorted(name for name in names if _TEXTS.fullmatch(name))):
        raise ConfigError(
            f"this run's samples are texts or tables, of which there is no moving picture\n"
            f"  they are {folder / texts[0]} to {texts[-1]}"
        )
    if len(found) < 2:
        raise DataError(
            f"{folder} holds {len(found)} sample grids, too few to show progress\n"
            "  to draw them more often while training: trainer.sample_every=..."
        )
    files = _spread(sorted(found, key=lambda p: int(p.stem)), MAX_FRAMES)
    first, *others = [_frame(file) for file in files]
    others = [frame for frame in others if frame.size == first.size]
    durations = [FRAME_MILLISECONDS] * len(others) + [LAST_MILLISECONDS]
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.stem}.{os.getpid()}{path.suffix}")
    try:
        first.save(
            temporary,
            save_all=True,
            append_images=others,
            duration=durations,
            loop=0,
            lossless=True,  # WebP; GIF always is, and knows 256 colours
        )
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
    return 1 + len(others)


def _spread(files: list[Path], most: int) -> list[Path]:
    if len(files) <= most:
        return files
    return [files[round(i * (len(files) - 1) / (most - 1))] for i in range(most)]


def _frame(file: Path) -> "Image.Image":
    from PIL import Image

    try:
        with Image.open(file, formats=("PNG",)) as image:
            if image.width * image.height > MOST_PIXELS:
                raise DataError(f"{file} is too large: {image.width} x {image.height} pixels")
            return image.convert("RGB")
    except DataError:
        raise
    except Exception as error:  # decoders raise whatever they like for a damaged file
        raise DataError(f"{file} is a damaged picture") from error

"""Sample grids of a run, one after the other, as a moving picture. Pillow only."""

from pathlib import Path
from typing import TYPE_CHECKING

from trainwright.errors import ConfigError, DataError
from trainwright.report.plots.grid import save_image
from trainwright.runs.folder import sample_files, spread

if TYPE_CHECKING:
    from PIL import Image

MAX_FRAMES = 200
MOST_PIXELS = 16_000_000  # of a frame
FRAME_MILLISECONDS = 200
LAST_MILLISECONDS = 2000  # the last picture is what one wants to look at


def animate(folder: Path, path: Path) -> int:
    """Write the numbered PNG files of `folder` as a GIF or WebP; return how many frames it has.

    The format is that of the suffix of `path`, which is written whole or not at all. Of more than
    200 pictures as many are taken, evenly spread, the first and the last among them. Raises
    ConfigError where what a run shows are texts, DataError where there are fewer than two pictures,
    or one is damaged, OSError when the disk refuses.
    """
    files = sample_files(folder)[""]
    found = [file for file in files if file.suffix == ".png"]
    if files and not found:
        raise ConfigError(
            f"this run's samples are texts or tables, of which there is no moving picture\n"
            f"  they are {files[0]} to {files[-1].name}"
        )
    if len(found) < 2:
        raise DataError(
            f"{folder} holds {len(found)} sample grids, too few to show progress\n"
            "  to draw them more often while training: trainer.sample_every=..."
        )
    first, *others = [_frame(file) for file in spread(found, MAX_FRAMES)]
    others = [frame for frame in others if frame.size == first.size]
    durations = [FRAME_MILLISECONDS] * len(others) + [LAST_MILLISECONDS]
    save_image(
        first,
        path,
        save_all=True,
        append_images=others,
        duration=durations,
        loop=0,
        lossless=True,  # WebP; GIF always is, and knows 256 colours
    )
    return 1 + len(others)


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

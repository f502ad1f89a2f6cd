"""A picture in a terminal: two pixels a letter, where it has all colours."""

import os
import sys
from pathlib import Path

from trainwright.cli.terminal.colour import has_colour

MOST_PIXELS = 4_000_000  # of a file, which may come from anyone


def picture(path: Path, columns: int, rows: int) -> list[str]:
    """A PNG in at most so many letters; nothing where colours are few, or it cannot be read."""
    has_all = os.environ.get("COLORTERM") in ("truecolor", "24bit")
    if not (has_all and has_colour(sys.stdout)) or rows < 4 or columns < 8 or path.suffix != ".png":
        return []
    from PIL import Image, UnidentifiedImageError

    try:
        with Image.open(path, formats=["PNG"]) as image:
            if image.width * image.height > MOST_PIXELS:
                return []
            scale = min(columns / image.width, 2 * rows / image.height, 1.0)
            size = max(1, int(image.width * scale)), max(2, int(image.height * scale) // 2 * 2)
            small = image.convert("RGB").resize(size)
    except (OSError, ValueError, SyntaxError, UnidentifiedImageError):  # or it is being written
        return []
    pixels = list(small.getdata())
    lines = []
    for y in range(0, size[1], 2):
        above, below = (pixels[row * size[0] : (row + 1) * size[0]] for row in (y, y + 1))
        cells = (
            f"\x1b[38;2;{a[0]};{a[1]};{a[2]}m\x1b[48;2;{b[0]};{b[1]};{b[2]}m▀"
            for a, b in zip(above, below, strict=True)
        )
        lines.append(f"  {''.join(cells)}\x1b[0m")
    return lines

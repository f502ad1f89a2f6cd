"""What a classifier said about test images: a grid with captions, the errors framed in red."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from PIL import Image, ImageDraw, ImageFont

from trainwright.report.letters import font_of_all, spelled
from trainwright.report.plots.grid import WHITE, Colour, arrange, tiles

if TYPE_CHECKING:
    from torch import Tensor

Font = ImageFont.ImageFont | ImageFont.FreeTypeFont
INK: Colour = (60, 60, 60)
RED: Colour = (200, 30, 30)
FRAME = 3  # pixels
FONT_SIZE = 13  # pixels; the smallest that stays readable in a README
LINE_HEIGHT = 16  # pixels
MIN_TILE = 80  # pixels: room for a caption of about a dozen letters


def prediction_grid(
    images: "Tensor",
    predicted: Sequence[str],
    true: Sequence[str],
    correct: Sequence[bool],
    *,
    columns: int = 8,
) -> Image.Image:
    """Draw each image with its predicted name below; errors as `predicted (true)`, framed in red.

    `images` is (N, C, H, W) as for `image_grid`; `predicted`, `true` and `correct` have N entries.
    A caption too wide for its image takes two lines, a name too wide for a line is cut.
    Raises ValueError where the lengths differ.
    """
    if not len(images) == len(predicted) == len(true) == len(correct):
        raise ValueError(
            "expected as many names and marks as images, got "
            f"{len(images)} images, {len(predicted)}, {len(true)} and {len(correct)}"
        )
    font = ImageFont.load_default(size=FONT_SIZE)
    if not all(name.isascii() for name in (*predicted, *true)):
        drawn = font_of_all((*predicted, *true, "().\\"))
        font = ImageFont.truetype(drawn.path, size=FONT_SIZE)
        predicted, true = ([spelled(name, font=drawn) for name in n] for n in (predicted, true))
    pictures = tiles(images, min_side=MIN_TILE)
    width = pictures[0].width + 2 * FRAME
    captions = [
        _caption(guess, None if right else truth, font, width)
        for guess, truth, right in zip(predicted, true, correct, strict=True)
    ]
    num_lines = max(map(len, captions))  # all cells have one height
    cells = [
        _cell(picture, [*caption, ""][:num_lines], right, font)
        for picture, caption, right in zip(pictures, captions, correct, strict=True)
    ]
    return arrange(cells, columns=columns, padding=6)


def _cell(picture: Image.Image, caption: list[str], correct: bool, font: Font) -> Image.Image:
    """Frame a picture and write its caption below, each line in the middle."""
    width, height = picture.width + 2 * FRAME, picture.height + 2 * FRAME
    cell = Image.new("RGB", (width, height + len(caption) * LINE_HEIGHT + 2), WHITE)
    cell.paste(WHITE if correct else RED, (0, 0, width, height))
    cell.paste(picture, (FRAME, FRAME))
    draw = ImageDraw.Draw(cell)
    for number, line in enumerate(caption):
        place = ((width - font.getlength(line)) / 2, height + 1 + number * LINE_HEIGHT)
        draw.text(place, line, fill=INK if correct else RED, font=font)
    return cell


def _caption(predicted: str, true: str | None, font: Font, width: int) -> list[str]:
    """Return the lines of a caption, each at most `width` pixels; `true` is None where right."""
    if true is None:
        return [_cut(predicted, font, width)]
    line = f"{predicted} ({true})"
    if font.getlength(line) <= width:
        return [line]
    # Cut the names, not the brackets: these tell the truth from the guess.
    room = int(width - font.getlength("()"))
    return [_cut(predicted, font, width), f"({_cut(true, font, room)})"]


def _cut(name: str, font: Font, width: int) -> str:
    """Shorten a name to `width` pixels, with two dots for what is missing."""
    if font.getlength(name) <= width:
        return name
    while name and font.getlength(name + "..") > width:
        name = name[:-1]
    return name + ".."

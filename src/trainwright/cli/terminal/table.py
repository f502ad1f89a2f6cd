"""Plain tables for the terminal: columns aligned, cut to its width, safe to show.

Our own because a table of 1,000 rows is laid out in milliseconds; rich takes half a second.
"""

import os
import shutil
import sys
import unicodedata
from collections.abc import Mapping, Sequence

from trainwright.cli.terminal.colour import painted
from trainwright.wording import printable

GAP = "  "
SHORTEST = 28  # what the widest column may be cut to: a name must still be told from others


def text_table(
    header: Sequence[str],
    rows: Sequence[Sequence[str]],
    *,
    right: Sequence[str] = (),
    colours: Mapping[str, str] | None = None,
) -> list[str]:
    """The lines of a table. Columns named in `right` are set flush right.

    `colours`: of the cells that are such words, on a terminal that has any.

    On a terminal the widest column is cut, in its middle, to what fits; elsewhere nothing is cut.
    """
    cells = [[printable(cell) for cell in row] for row in (header, *rows)]
    widths = [max(map(display_width, column)) for column in zip(*cells, strict=True)]
    room = terminal_width()
    excess = sum(widths) + len(GAP) * (len(widths) - 1) - room if room else 0
    if excess > 0:
        widest = widths.index(max(widths))
        widths[widest] = max(SHORTEST, widths[widest] - excess)
        for row in cells:
            row[widest] = cut(row[widest], widths[widest])
    flush_right = [name in right for name in header]
    lines = []
    for row in cells:
        padded = map(_pad, row, widths, flush_right)
        both = zip(row, padded, strict=True)
        told = [painted(text, (colours or {}).get(cell), sys.stdout) for cell, text in both]
        lines.append(GAP.join(told).rstrip())
    return lines


def shown(text: str) -> str:
    """Text of a stranger as it is, for a file or a pipe; on a terminal without what that obeys."""
    return printable(text) if sys.stdout.isatty() else text


def terminal_size() -> tuple[int, int]:
    """Columns and rows of the terminal that is written to; 80 and 24 where it does not say."""
    size = shutil.get_terminal_size()
    return size.columns or 80, size.lines or 24


def terminal_width() -> int | None:
    """Columns of the terminal that is written to; None where it is a file or a pipe."""
    if not sys.stdout.isatty() and "COLUMNS" not in os.environ:
        return None
    return shutil.get_terminal_size().columns


def display_width(text: str) -> int:
    """How many columns a terminal gives to a text: two to wide letters, none to combining marks."""
    if text.isascii():
        return len(text)
    return sum(
        0 if unicodedata.combining(c) else 2 if unicodedata.east_asian_width(c) in "WF" else 1
        for c in text
    )


def cut(text: str, width: int) -> str:
    """Shorten a text to `width` columns by dots in its middle: both ends tell names apart."""
    if display_width(text) <= width:
        return text
    keep = (width - 1) // 2
    head, tail = text[: width - 1 - keep], text[len(text) - keep :]
    while display_width(head) + display_width(tail) + 1 > width:
        head, tail = (head[:-1], tail) if len(head) >= len(tail) else (head, tail[1:])
    return f"{head}…{tail}"


def _pad(cell: str, width: int, flush_right: bool) -> str:
    space = " " * (width - display_width(cell))
    return space + cell if flush_right else cell + space

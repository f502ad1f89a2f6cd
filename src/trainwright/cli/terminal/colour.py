"""Colour, where a terminal has it and nobody minds (https://no-color.org)."""

import os
from typing import TextIO

_CODES = {"red": "31", "green": "32", "yellow": "33", "blue": "34", "bold": "1", "dim": "2"}
STATUS = {
    "running": "blue",
    "finished": "green",
    "stopped": "yellow",
    "pruned": "dim",
    "failed": "red",
    "killed": "red",
}


def has_colour(stream: TextIO) -> bool:
    """Whether `stream` is a terminal that has some, and nobody minds."""
    is_plain = os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb"
    return not is_plain and stream.isatty()


def painted(text: str, colour: str | None, stream: TextIO) -> str:
    """The text in a colour or `bold`; as it is where `stream` is no terminal that has any."""
    if colour is None or not has_colour(stream):
        return text
    return f"\x1b[{_CODES[colour]}m{text}\x1b[0m"

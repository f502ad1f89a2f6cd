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


def painted(text: str, colour: str | None, stream: TextIO) -> str:
    """The text in a colour or `bold`; as it is where `stream` is no terminal that has any."""
    is_plain = os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb"
    if colour is None or is_plain or not stream.isatty():
        return text
    return f"\x1b[{_CODES[colour]}m{text}\x1b[0m"

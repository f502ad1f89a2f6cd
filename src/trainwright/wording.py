"""What messages are made of: the nearest of the names that exist, and text of strangers."""

import difflib
from collections.abc import Collection


def nearest(name: str, options: Collection[str]) -> str:
    """Return `; did you mean x?` where an option is close to `name`, and nothing otherwise."""
    matches = difflib.get_close_matches(name, [str(option) for option in options], n=1)
    return f"; did you mean {matches[0]}?" if matches else ""


def printable(text: str) -> str:
    """Text of a stranger as one harmless line: what a terminal might obey is escaped."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)

"""Names in any script: in a font that has their letters if there is one, else spelled out.

A letter that a font has not is drawn as an empty box. Matplotlib, which knows the fonts of this
machine and takes half a second to import, is asked only where a name is not plain ASCII.
"""

import functools
from collections.abc import Iterable
from typing import NamedTuple

# They have every letter, and draw a box.
NO_FONTS = ("Last Resort", "Adobe Blank")


class Font(NamedTuple):
    """A font that is installed: its family, and its file."""

    family: str
    path: str


def fonts_of(texts: Iterable[str]) -> list[Font]:
    """The fonts that have the letters of some texts; that of all plots comes first."""
    found = _look_up(texts).values()
    return list(dict.fromkeys([_usual(), *(font for font in found if font is not None)]))


def font_of_all(texts: Iterable[str]) -> Font:
    """A font that has all letters of all texts; where there is none, that of all plots."""
    letters = {letter for text in texts for letter in text}
    found = (font for font in _fonts() if letters <= _those_of(font, letters))
    return next(found, _usual())


def spelled(text: str, *, font: Font | None = None) -> str:
    r"""The text, with a letter that `font` has not, or no font at all, by its number: `\u732b`."""
    if text.isascii():
        return text
    known = _look_up([text])
    drawn = {c for c in text if c.isascii() or known[c]} if font is None else _those_of(font, text)
    return "".join(c if c in drawn else ascii(c)[1:-1] for c in text)


_known: dict[str, Font | None] = {}  # the font of a letter


def _look_up(texts: Iterable[str]) -> dict[str, Font | None]:
    """A font for each letter that is not ASCII; each font is opened once for all that are new."""
    letters = {c for text in texts for c in text if not c.isascii()}
    new = letters - _known.keys()
    for font in _fonts() if new else ():
        found = _those_of(font, new)
        _known.update(dict.fromkeys(found, font))
        new -= found
        if not new:
            break
    _known.update(dict.fromkeys(new))
    return {letter: _known[letter] for letter in sorted(letters)}


def _those_of(font: Font, letters: Iterable[str]) -> set[str]:
    """The letters that a font has."""
    from matplotlib import font_manager

    try:
        opened = font_manager.get_font(font.path)
    except (OSError, RuntimeError):  # removed since matplotlib listed it, or damaged
        return set()
    return {letter for letter in letters if opened.get_char_index(ord(letter))}


@functools.cache
def _usual() -> Font:
    from matplotlib import font_manager

    path = str(font_manager.findfont(font_manager.FontProperties()))
    return Font(font_manager.get_font(path).family_name, path)


@functools.cache
def _fonts() -> tuple[Font, ...]:
    """A font a family, upright and regular, as plots get them; that of all plots first."""
    from matplotlib import font_manager

    found = {_usual().family: _usual()}
    for entry in sorted(font_manager.fontManager.ttflist, key=lambda entry: entry.fname):
        is_regular = (entry.style, entry.stretch) == ("normal", "normal") and entry.weight == 400
        if is_regular and not entry.name.startswith(NO_FONTS):
            found.setdefault(entry.name, Font(entry.name, entry.fname))
    return tuple(found.values())

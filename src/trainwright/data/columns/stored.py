"""A column from what a checkpoint remembers of it, which may come from anyone."""

from collections.abc import Mapping
from dataclasses import fields
from typing import Any, get_args

from trainwright.data.columns.column import Column
from trainwright.data.columns.inputs import Image
from trainwright.data.columns.series import Series
from trainwright.data.columns.tables import Categories, Numbers
from trainwright.data.columns.targets import Classes, Labels, Values
from trainwright.data.columns.tokens import Tokens
from trainwright.data.images.decode import Fit
from trainwright.data.tables.cells import MOST_FLOAT
from trainwright.wording import printable

MOST_NUMBERS = 2**26  # in one example: 64 million, as for images that are decoded

SMALLEST_DEVIATION = 1e-38  # it is divided by
_WORDS = {
    "scaling": ("standard", "symmetric", "unit"),
    "fit": get_args(Fit),
    "is_open": (False, True),
    "is_apart": (False, True),
}
_KINDS: Mapping[str, type[Column]] = {
    column.kind: column
    for column in (Image, Numbers, Categories, Series, Tokens, Classes, Labels, Values)
}


def column_of(plain: Any) -> Column:
    """The column that `Column.plain` has written. Raises ValueError for what it never writes."""
    kind = plain.get("kind") if isinstance(plain, dict) else None
    if not isinstance(kind, str) or kind not in _KINDS:
        raise ValueError(f"{printable(str(kind))[:40]} is not a kind of column")
    known = {field.name for field in fields(_KINDS[kind])}  # type: ignore[arg-type]
    values = {name: _checked(name, value) for name, value in plain.items() if name in known}
    column = _KINDS[kind](**values)
    if len(getattr(column, "mean", ())) != len(getattr(column, "std", ())):
        raise ValueError("there are not as many deviations as means")
    if isinstance(column, Image) and len(column.mean) != column.size[0]:
        raise ValueError("there are not as many means as channels")
    if isinstance(column, Numbers | Values) and len(column.names) not in (0, len(column.mean)):
        raise ValueError("there are not as many names as numbers")
    if isinstance(column, Labels) and len(column.words) not in (0, len(column.names)):
        raise ValueError("there are not as many words as classes")
    return column


def _checked(name: str, value: Any) -> Any:
    """A field of a column from JSON; lists become tuples. Raises ValueError."""
    if name in _WORDS:
        is_right = value in _WORDS[name] and type(value) is type(_WORDS[name][0])
    elif name == "limit":
        is_right = _is_finite(value) and (value == 0 or value > SMALLEST_DEVIATION)
    elif name == "tokenizer":
        is_right = value in ("chars", "bytes") or (isinstance(value, str) and value[:1] == "{")
    elif name == "length":
        is_right = _is_size(value)
    elif not isinstance(value, list):
        is_right = False
    elif name == "size":
        is_right = len(value) == 3 and all(map(_is_size, value))
    elif name == "flagged":
        is_right = all(type(v) is int and 0 <= v < MOST_NUMBERS for v in value)
    elif name in ("mean", "fill"):
        is_right = all(map(_is_finite, value))
    elif name in ("std", "unit"):
        is_right = all(_is_finite(v) and v > SMALLEST_DEVIATION for v in value)
    elif name in ("options", "cells", "words"):
        is_right = all(isinstance(v, list) and all(isinstance(w, str) for w in v) for v in value)
        is_right = is_right and (name == "options" or all(len(v) == 2 for v in value))
    else:
        is_right = all(isinstance(v, str) for v in value)
    if not is_right:
        raise ValueError(f"its {name} has the wrong type")
    return _tuples(value)


def _tuples(value: Any) -> Any:
    return tuple(map(_tuples, value)) if isinstance(value, list) else value


def _is_size(value: Any) -> bool:
    return type(value) is int and 0 < value <= MOST_NUMBERS


def _is_finite(value: Any) -> bool:
    return type(value) in (int, float) and abs(value) < MOST_FLOAT

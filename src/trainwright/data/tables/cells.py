"""One cell of a table as numbers: the same function for training, prediction and evaluation."""

import datetime
import math
import re
import zlib
from collections.abc import Collection
from functools import lru_cache
from itertools import pairwise

MOST_FLOAT = 3e38  # beyond it float32 has no number

# What is missing, where nothing else is said; compared without regard to case.
MISSING = ("", "-", "?", "na", "n/a", "nan", "nil", "none", "null")
ISO = "iso"
DATES = (
    ISO, "%d.%m.%Y", "%d/%m/%Y", "%m/%d/%Y", "%d-%m-%Y", "%m-%d-%Y", "%Y/%m/%d", "%d.%m.%y",
    "%d %b %Y", "%b %d, %Y",
)  # fmt: skip
TIMES = ("", " %H:%M", " %H:%M:%S")
MOST_HASHED = 4096
NUMBER = ("number", "comma")  # with a point or a comma before the tenths
_HOW = re.compile(r"number|comma|date (?P<format>.{1,40})|text (?P<size>\d{1,4})")
_EPOCH = datetime.datetime(1970, 1, 1)
_WORD = re.compile(r"\w+")


def is_missing(cell: str, null: Collection[str]) -> bool:
    """Whether a cell holds nothing; `null`: the words for that, in small letters."""
    return cell in null or cell.strip().lower() in null


def number_of(cell: str, how: str = "number") -> float:
    """The number in a cell, with a point or, read as `comma`, with a comma before the tenths.

    Raises ValueError where there is none, OverflowError for one beyond float32, or infinite.
    """
    if how == "comma":
        if "." in cell:
            raise ValueError(cell)
        cell = cell.replace(",", ".")
    value = float(cell)
    if "_" in cell or math.isnan(value):  # Python's own way to write a number
        raise ValueError(cell)
    if not abs(value) < MOST_FLOAT:
        raise OverflowError(cell)
    return value


def date_of(cell: str, form: str) -> datetime.datetime:
    """The moment in a cell; UTC where it says how far from that it is. Raises ValueError."""
    if form != ISO:
        return datetime.datetime.strptime(cell, form)
    if cell.isdecimal():  # 20240131: a number
        raise ValueError(cell)
    moment = datetime.datetime.fromisoformat(cell)
    if moment.tzinfo is not None:
        moment = moment.astimezone(datetime.UTC).replace(tzinfo=None)
    return moment


def date_parts(moment: datetime.datetime) -> tuple[float, ...]:
    """Years since 1970, and where in the year, the week and the day it is, each as a circle."""
    days = (moment - _EPOCH).total_seconds() / 86400
    start = datetime.datetime(moment.year, 1, 1)
    year = (moment - start).total_seconds() / 86400 / 365.25
    turns = (year, ((days + 3) % 7) / 7, days % 1)  # 1970 began on a Thursday
    circles = [f(2 * math.pi * turn) for turn in turns for f in (math.sin, math.cos)]
    return (days / 365.25, *circles)


PARTS = ("years", *(f"{f} of {turn}" for turn in ("year", "week", "day") for f in ("sin", "cos")))


def hashed(text: str, size: int) -> list[float]:
    """Words and pairs of them, each counted in one of `size` places: a vector of length 1.

    Signed, so that words that share a place cancel out on average (Weinberger et al. 2009).
    """
    words = _WORD.findall(text.lower())
    counts = [0.0] * size
    for gram in (*words, *(f"{a} {b}" for a, b in pairwise(words))):
        place = zlib.crc32(gram.encode("utf-8", "replace"))
        counts[place % size] += 1.0 if place & 2**31 else -1.0
    length = math.sqrt(sum(count * count for count in counts)) or 1.0
    return [count / length for count in counts]


@lru_cache(maxsize=2**16)  # days come again
def _date_parts(cell: str, form: str) -> tuple[float, ...]:
    return date_parts(date_of(cell, form))


@lru_cache
def parts(how: str) -> tuple[str, ...]:
    """What a cell that is read so becomes: a name a number, the first empty for the cell's own.

    Raises ValueError for a `how` that there is not.
    """
    found = _HOW.fullmatch(how)
    if found is None:
        raise ValueError(f"{how[:40]!r} is no way to read a cell")
    if found["format"]:
        return PARTS
    if found["size"]:
        size = int(found["size"])
        if not 0 < size <= MOST_HASHED:
            raise ValueError(f"{how[:40]!r} is no way to read a cell")
        return tuple(f"words {i}" for i in range(size))
    return ("",)


def read_cell(cell: str, how: str, null: Collection[str]) -> tuple[float, ...]:
    """The numbers of a cell, as many as `parts` has; NaN where it is missing.

    Raises ValueError or OverflowError.
    """
    if is_missing(cell, null):
        return (math.nan,) * len(parts(how))
    if how in NUMBER:
        return (number_of(cell, how),)
    kind, _, argument = how.partition(" ")
    if kind == "date":
        return _date_parts(cell.strip(), argument)
    return tuple(hashed(cell, int(argument)))

"""What a column of a table holds, found from its cells: numbers, categories, dates, texts, ids."""

import re
from collections import Counter
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

from trainwright.data.tables.cells import (
    DATES,
    ISO,
    TIMES,
    date_of,
    is_missing,
    number_of,
)
from trainwright.errors import DataError
from trainwright.wording import format_number, printable

Kind = Literal["number", "boolean", "category", "date", "text", "id", "constant", "empty"]

TEXT_SIZE = 64  # numbers that a text is hashed to
MOST_OPTIONS = 5000  # of a category: the most frequent ones
FEW_ROWS = 20  # too few to tell an id by
MOST_TRIED = 500  # different cells by which the form of a date is found
_BOOLEANS = [set(pair.split()) for pair in ("true false", "yes no", "t f", "y n", "on off")]
_THOUSANDS = re.compile(r"-?\d{1,3}(,\d{3})*(\.\d*)?")
_ID = re.compile(r"(?i)(.*[_\s.-])?(id|uuid|guid|index|key|nr|no)|.*Id|column 1|unnamed: 0")


@dataclass(frozen=True)
class Found:
    """What a column is, how its cells are read (`tables/cells.py`), and what a person is told."""

    name: str
    kind: Kind
    how: str = ""
    options: tuple[str, ...] = ()  # of a category
    told: str = ""
    warning: str = ""
    has_missing: bool = False


@dataclass(frozen=True)
class Reading:
    """How a table is to be read, where its user says so."""

    null: Collection[str]
    decimal: str | None = None  # point or comma; None: found
    separator: str | None = None  # which a decimal comma must not be
    categories: Collection[str] = ()
    texts: Collection[str] = ()
    kept: Collection[str] = ()  # columns that were asked for by name


def understand(
    name: str, cells: Sequence[str], where: Callable[[str], str], reading: Reading
) -> Found:
    """What a column holds, from the cells of the training rows.

    `where`: the line of a cell, for messages. Raises DataError for numbers among words or dates in
    two forms.
    """
    all_counts = Counter(cells).items()
    counts = Counter({cell: n for cell, n in all_counts if not is_missing(cell, reading.null)})
    num = sum(counts.values())
    missing = len(cells) - num
    lacking = f", {missing:,} missing" if missing else ""

    def found(kind: Kind, told: str, how: str = "", options: tuple[str, ...] = ()) -> Found:
        return Found(name, kind, how, options, told + lacking, has_missing=missing > 0)

    if not num:
        return Found(name, "empty", told="no cell is filled: left out")
    if name in reading.categories:
        options = _options(counts)
        return found("category", _of_options(counts, options), options=options)
    if name in reading.texts:
        return found("text", f"hashed to {TEXT_SIZE} numbers", f"text {TEXT_SIZE}")
    if len(counts) == 1 and not missing:
        only = printable(next(iter(counts)))[:30]
        return Found(name, "constant", told=f"always {only!r}: left out")
    how = number_form(name, counts, where, reading)
    if how:
        if _is_id(name, cells, counts, missing) and name not in reading.kept:
            return _id(name)
        values = [number_of(cell, how) for cell in counts]
        comma = ", with a decimal comma" if how == "comma" else ""
        low, high = format_number(min(values)), format_number(max(values))
        return found("number", f"{low} to {high}{comma}", how)
    if {cell.lower() for cell in counts} in _BOOLEANS:
        return found("boolean", ", ".join(sorted(counts)), options=tuple(sorted(counts)))
    form, others = date_form(name, counts, where)
    if form:
        return found("date", f"as {_shown(form)}{others}", f"date {form}")
    match _words(counts, num):
        case "text":
            return found("text", f"hashed to {TEXT_SIZE} numbers", f"text {TEXT_SIZE}")
        case "id" if name not in reading.kept:
            return _id(name)
    options = _options(counts)
    return found("category", _of_options(counts, options), options=options)


def _words(counts: Counter[str], num: int) -> Kind:
    """Text or an id where nearly every cell differs, else a category."""
    if len(counts) <= 0.5 * num or num < FEW_ROWS:
        return "category"
    if sum(cell.count(" ") * count for cell, count in counts.items()) >= 2 * num:
        return "text"
    return "id" if len(counts) > 0.9 * num else "category"


def _id(name: str) -> Found:
    told = "every row has another: an id, left out"
    return Found(name, "id", told=told, warning=f"{told} (data.columns names it to keep it)")


def _is_id(name: str, cells: Sequence[str], counts: Counter[str], missing: int) -> bool:
    """Whole numbers, another in each row, that count rows or are called so."""
    if missing or len(counts) < len(cells):
        return False
    return is_counted(name, cells)


def is_counted(name: str, cells: Sequence[str]) -> bool:
    """Whether whole numbers, another in each row, count the rows or are called as if they did."""
    if len(set(cells)) < max(len(cells), FEW_ROWS) or not all(map(_is_whole, cells)):
        return False
    if _ID.fullmatch(name):
        return True
    steps = [int(b) - int(a) for a, b in pairwise(cells)]
    return min(steps) > 0 and sum(steps) <= 2 * len(cells)


def _is_whole(cell: str) -> bool:
    return cell.removeprefix("-").isdecimal() and len(cell) < 19


def _options(counts: Counter[str]) -> tuple[str, ...]:
    """Those to be told apart, sorted. One that stands there once counts as never seen: so there
    are examples of what that means."""
    frequent = [word for word, count in counts.most_common(MOST_OPTIONS) if count > 1]
    return tuple(sorted(frequent))


def _of_options(counts: Counter[str], options: tuple[str, ...]) -> str:
    some = ", ".join(printable(word)[:20] for word, _ in counts.most_common(3))
    rare = len(counts) - len(options)
    more = ", ..." if len(counts) > 3 else ""
    return f"{len(counts):,}: {some}{more}" + (f" ({rare:,} of them rare)" if rare else "")


def number_form(
    name: str, counts: Counter[str], where: Callable[[str], str], reading: Reading
) -> str:
    """How its cells are read as numbers; nothing where they are none.

    Raises DataError for infinite numbers, and for numbers with a few others among them.
    """
    forms = {"number": "point", "comma": "comma"}
    wanted = [form for form, sign in forms.items() if reading.decimal in (None, sign)]
    if reading.decimal is None and reading.separator == ",":
        wanted = ["number"]  # a comma in a cell divides thousands there
        _refuse_thousands(name, counts, where)
    failing = {}
    for form in wanted:
        failing[form] = [cell for cell in counts if not _is_number(name, cell, form, where)]
        if not failing[form]:
            return form
    form = min(failing, key=lambda form: len(failing[form]))
    bad = failing[form]
    num_bad, num = sum(counts[cell] for cell in bad), sum(counts.values())
    if num_bad >= 0.5 * num or len(bad) >= 0.5 * len(counts) + 1:
        return ""
    raise DataError(mixed(name, f"{num - num_bad:,} numbers", "no numbers", bad, where))


def _refuse_thousands(name: str, counts: Counter[str], where: Callable[[str], str]) -> None:
    for cell in counts if all(map(_THOUSANDS.fullmatch, counts)) else ():
        if "," in cell:
            raise DataError(
                f"the column {printable(name)[:40]} holds {cell} in {where(cell)}: a comma between "
                "thousands\n  write numbers without, or leave the column out: "
                f"data.ignore=[{name}]"
            )


def mixed(name: str, most: str, what: str, bad: Sequence[str], where: Callable[[str], str]) -> str:
    """What to say of a column in which a few cells are not like the others."""
    told = ", ".join(f"{printable(cell)[:20]!r} in {where(cell)}" for cell in bad[:3])
    more = f" and {len(bad) - 3:,} more" if len(bad) > 3 else ""
    return (
        f"the column {printable(name)[:40]} holds {most} and some cells that are {what}\n"
        f"  {told}{more}\n"
        f"  mend them, name what is missing with data.null=[...], or data.categories=[{name}]"
    )


def _is_number(name: str, cell: str, form: str, where: Callable[[str], str]) -> bool:
    try:
        number_of(cell, form)
        return True
    except ValueError:
        return False
    except OverflowError:
        raise DataError(
            f"the column {printable(name)[:40]} holds {printable(cell)[:20]} in {where(cell)}, "
            "which is infinite or too large\n"
            f"  mend it, or count it as missing: data.null=[...,{printable(cell)[:20]}]"
        ) from None


def date_form(name: str, counts: Counter[str], where: Callable[[str], str]) -> tuple[str, str]:
    """The form of its dates, and what else they could be; nothing where they are none.

    Raises DataError for dates in two forms.
    """
    tried = [cell for cell, _ in counts.most_common(MOST_TRIED)]
    if sum(any(c.isdecimal() for c in cell) for cell in tried) < 0.5 * len(tried):
        return "", ""
    forms = [ISO, *(day + time for day in DATES if day != ISO for time in TIMES)]
    fits = {form: [cell for cell in tried if _is_date(cell, form)] for form in forms}
    best = max(forms, key=lambda form: len(fits[form]))
    if len(fits[best]) == len(tried):
        others = [form for form in forms if form != best and len(fits[form]) == len(tried)]
        return best, f" (they could be {others[0]}, too)" if others else ""
    left = [cell for cell in tried if cell not in set(fits[best])]
    other = max(forms, key=lambda form: sum(_is_date(cell, form) for cell in left))
    seconds = [cell for cell in left if _is_date(cell, other)]
    if fits[best] and seconds and len(fits[best]) + len(seconds) >= 0.9 * len(tried):
        raise DataError(
            f"the column {printable(name)[:40]} holds dates in two forms: "
            f"{_shown(best)} and {_shown(other)}\n"
            f"  such as {printable(fits[best][0])[:30]!r} in {where(fits[best][0])}, "
            f"{printable(seconds[0])[:30]!r} in {where(seconds[0])}\n"
            f"  write all alike, or leave the column out: data.ignore=[{name}]"
        )
    if len(fits[best]) >= 0.9 * len(tried):
        raise DataError(mixed(name, f"dates as {best}", "none", left, where))
    return "", ""


def _shown(form: str) -> str:
    return "2024-12-31" if form == ISO else form


def _is_date(cell: str, form: str) -> bool:
    try:
        date_of(cell, form)
        return True
    except (ValueError, OverflowError):
        return False

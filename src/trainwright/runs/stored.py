"""Small files of a run folder, which may come from anyone: read with limits, or not at all."""

import contextlib
import json
import math
import os
import re
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO, TypeGuard

from trainwright.targets import named_as_now

MAX_BYTES = 16 * 2**20  # summary.json of a run with 1,000 classes has a confusion matrix of 9 MB
MAX_VALUES, MAX_DEPTH = 4_000_000, 50
LONGEST_LINE = 4 * 2**20  # of a file of one object a line
MAX_YAML_BYTES = 2**20
# Deeper than any config, and far less than what libyaml's recursion survives.
MAX_YAML_BRACKETS = 2000
MAX_YAML_MARKS_A_LINE = 100
_KEY = re.compile(r"^(\w+):(?= |$)", re.MULTILINE)
_AT_FIRST_COLUMN = re.compile(r"^(?!- )[^\s#]", re.MULTILINE)
LARGEST_NUMBER = 2**1000  # a float still holds it
_BASE_SIXTY = re.compile(r"\d(?::[0-5]?\d){20}")  # as YAML 1.1 has it; one number
_REFERENCE = re.compile(r"(^|[\s\[{,])[&*]")  # an anchor is seen by whatever comes after it

_PLAIN = {str, int, float, bool, type(None)}


class UnreadableError(Exception):
    """Why a file cannot be used; the message is half a line."""


def is_number(value: object) -> TypeGuard[int | float]:
    """Whether a stored value is a number, and one that JSON has: neither NaN nor infinity."""
    return type(value) is int or (type(value) is float and math.isfinite(value))


def read_bytes(path: Path, *, limit: int = MAX_BYTES) -> bytes:
    """What a file of at most `limit` bytes holds. Raises UnreadableError, FileNotFoundError."""
    with _opened(path) as file:
        size = os.fstat(file.fileno()).st_size
        content = file.read(min(size, limit) + 1)  # memory for so many is taken at once
    if len(content) > limit:
        raise UnreadableError(f"is larger than {limit:,} bytes")
    return content


def read_text(path: Path, *, limit: int = MAX_BYTES) -> str:
    """The text of a file of at most `limit` bytes. Raises UnreadableError, FileNotFoundError."""
    content = read_bytes(path, limit=limit)
    try:
        return content.decode()
    except UnicodeDecodeError as error:
        raise UnreadableError("is not UTF-8 text") from error


def read_json(path: Path) -> dict[str, Any]:
    """The object in a JSON file. Raises UnreadableError, FileNotFoundError."""
    text = read_text(path)
    try:
        value = json.loads(text)
        if "\\ud" in text.lower():
            json.dumps(value, ensure_ascii=False).encode()  # half a pair of letters is no text
    except (ValueError, RecursionError) as error:
        raise UnreadableError("is not valid JSON") from error
    if not isinstance(value, dict):
        raise UnreadableError("does not hold an object")
    _check_extent(value)
    return value


def read_json_if_any(path: Path) -> dict[str, Any]:
    """The same; an empty object where there is none that can be read."""
    try:
        return read_json(path)
    except (FileNotFoundError, UnreadableError):
        return {}


def read_yaml(path: Path, *, section: str | None = None) -> dict[str, Any]:
    """The mapping in a YAML file of plain values. Raises UnreadableError, FileNotFoundError.

    `section`: only that key is wanted, and the others need not be read, which takes a millisecond.
    """
    text = read_text(path, limit=MAX_YAML_BYTES)
    node = _parsed(text if section is None else _only(section, text))
    renamed: dict[str, Any] = named_as_now(node)
    return renamed


def _only(section: str, text: str) -> str:
    """The part of a YAML mapping that is one of its keys; all of it where that is not plain to see.

    In a block mapping nothing but its keys, and the dashes of a list, begins at the first column,
    unless a quote or a bracket is open.
    """
    keys = list(_KEY.finditer(text))
    others = len(_AT_FIRST_COLUMN.findall(text)) - len(keys)
    if not keys or others or _REFERENCE.search(text):
        return text
    ends = [*(key.start() for key in keys[1:]), len(text)]
    parts = [(key[1], text[key.start() : end]) for key, end in zip(keys, ends, strict=True)]
    if not all(_is_closed(part) for _, part in parts):
        return text
    return next((part for name, part in reversed(parts) if name == section), "{}")


def _is_closed(part: str) -> bool:
    """Whether what is quoted or in brackets ends where it has begun: that may go on anywhere."""
    return (
        part.count("'") % 2 == part.count('"') % 2 == 0
        and part.count("{") == part.count("}")
        and part.count("[") == part.count("]")
    )


def _parsed(text: str) -> dict[str, Any]:
    import yaml

    _check_depth(text)
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    try:
        value = yaml.load(text, Loader=loader)  # noqa: S506 - both are safe loaders
    except (yaml.YAMLError, ValueError, TypeError, RecursionError) as error:
        raise UnreadableError("is not valid YAML") from error
    if not isinstance(value, dict):
        raise UnreadableError("does not hold a mapping")
    _check_extent(value)
    return value


def _check_depth(text: str) -> None:
    """Refuse nesting that would end libyaml, and this process with it, in a stack overflow.

    And 1:59:59 and so on for a megabyte, which is one number, and takes minutes to become it.
    """
    brackets = text.count("[") + text.count("{")
    marks = max((line.count("- ") + line.count("? ") for line in text.splitlines()), default=0)
    if _BASE_SIXTY.search(text):
        raise UnreadableError("holds a number that is too large")
    if brackets > MAX_YAML_BRACKETS or marks > MAX_YAML_MARKS_A_LINE:
        raise UnreadableError("is nested too deeply")


def _check_extent(content: dict[str, Any]) -> None:
    """Refuse what is nested deeply, vast once its YAML aliases are followed, or not plain.

    YAML has dates, sets and bytes too, and numbers without end: no run writes any of them.
    """
    num_values = 0
    remaining: list[tuple[Any, int]] = [(content, 0)]
    while remaining:
        value, depth = remaining.pop()
        num_values += len(value)
        if depth > MAX_DEPTH or num_values > MAX_VALUES:
            raise UnreadableError("holds too much")
        for item in [*value, *value.values()] if isinstance(value, dict) else value:
            if isinstance(item, dict | list):
                remaining.append((item, depth + 1))
            elif type(item) not in _PLAIN or (type(item) is int and abs(item) > LARGEST_NUMBER):
                raise UnreadableError("holds something that no run writes")


def read_objects(path: Path, *, last: int | None = None) -> Iterator[dict[str, Any]]:
    """The lines of a file of one JSON object a line; an empty object for what is none, or torn.

    `last`: only so many bytes from its end. Raises UnreadableError, FileNotFoundError.
    """
    with _opened(path) as file:
        start = 0 if last is None else max(0, os.fstat(file.fileno()).st_size - last)
        file.seek(start)
        if start:
            file.readline(LONGEST_LINE)  # it is cut
        while line := file.readline(LONGEST_LINE):
            if not line.isspace():
                yield _object(line)


def read_lines(path: Path) -> Iterator[dict[str, Any]]:
    """The same without what is torn or no object; none where there is no file to be read."""
    with contextlib.suppress(FileNotFoundError, UnreadableError):
        yield from filter(None, read_objects(path))


def _object(line: bytes) -> dict[str, Any]:
    try:
        value = json.loads(line.decode())
    except (ValueError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[BinaryIO]:
    """A regular file, open for reading. Neither a pipe nor a device is waited for."""
    try:
        descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0))
        with os.fdopen(descriptor, "rb") as file:
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                raise UnreadableError("is not a regular file")
            yield file
    except FileNotFoundError:
        raise
    except OSError as error:
        raise UnreadableError(f"cannot be read: {error.strerror}") from error

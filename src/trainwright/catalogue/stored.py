"""Small files of a run folder, which may come from anyone: read with limits, or not at all."""

import json
import os
import stat
from pathlib import Path
from typing import Any

MAX_BYTES = 16 * 2**20  # summary.json of a run with 1,000 classes has a confusion matrix of 9 MB
MAX_YAML_BYTES = 2**20
# Deeper than any config, and far less than what libyaml's recursion survives.
MAX_YAML_BRACKETS = 2000
MAX_YAML_MARKS_A_LINE = 100


class UnreadableError(Exception):
    """Why a file cannot be used; the message is half a line."""


def read_text(path: Path, *, limit: int = MAX_BYTES) -> str:
    """The text of a regular file of at most `limit` bytes.

    Neither a pipe nor a device is waited for. Raises UnreadableError, FileNotFoundError.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0))
        with os.fdopen(descriptor, "rb") as file:
            status = os.fstat(descriptor)
            if not stat.S_ISREG(status.st_mode):
                raise UnreadableError("is no regular file")
            if status.st_size > limit:
                raise UnreadableError(f"is larger than {limit:,} bytes")
            return file.read(limit).decode()
    except FileNotFoundError:
        raise
    except OSError as error:
        raise UnreadableError(f"cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise UnreadableError("is no UTF-8 text") from error


def read_json(path: Path) -> dict[str, Any]:
    """The object in a JSON file. Raises UnreadableError, FileNotFoundError."""
    try:
        value = json.loads(read_text(path))
    except (ValueError, RecursionError) as error:
        raise UnreadableError("is not valid JSON") from error
    if not isinstance(value, dict):
        raise UnreadableError("does not hold an object")
    return value


def read_yaml(path: Path) -> dict[str, Any]:
    """The mapping in a YAML file of plain values. Raises UnreadableError, FileNotFoundError."""
    import yaml

    text = read_text(path, limit=MAX_YAML_BYTES)
    _check_depth(text)
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    try:
        value = yaml.load(text, Loader=loader)  # noqa: S506 - both are safe loaders
    except (yaml.YAMLError, ValueError, TypeError, RecursionError) as error:
        raise UnreadableError("is not valid YAML") from error
    if not isinstance(value, dict):
        raise UnreadableError("does not hold a mapping")
    return value


def _check_depth(text: str) -> None:
    """Refuse nesting that would end libyaml, and this process with it, in a stack overflow."""
    brackets = text.count("[") + text.count("{")
    marks = max((line.count("- ") + line.count("? ") for line in text.splitlines()), default=0)
    if brackets > MAX_YAML_BRACKETS or marks > MAX_YAML_MARKS_A_LINE:
        raise UnreadableError("is nested too deeply")


def last_row(path: Path) -> dict[str, Any]:
    """The last whole line of a metrics.jsonl, read from its end; empty where there is none."""
    tail = 64 * 2**10
    try:
        descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0))
        with os.fdopen(descriptor, "rb") as file:
            status = os.fstat(descriptor)
            if not stat.S_ISREG(status.st_mode):
                return {}
            file.seek(max(0, status.st_size - tail))
            lines = file.read(tail).decode(errors="replace").splitlines()
    except OSError:
        return {}
    for line in reversed(lines):
        try:
            row = json.loads(line)
        except (ValueError, RecursionError):
            continue
        if isinstance(row, dict):
            return row
    return {}

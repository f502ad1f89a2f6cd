"""The header of a checkpoint, checked before anything that it promises is believed or allocated.

A safetensors file is eight bytes of length, so many bytes of JSON, and the tensors' bytes. Format:
https://huggingface.co/docs/safetensors
"""

import json
import math
import os
import struct
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

from trainwright.errors import CheckpointError
from trainwright.runs.older import as_now
from trainwright.wording import printable

LARGEST_HEADER = 16 * 2**20  # bytes: some hundred thousand tensors
MOST_TENSORS, LONGEST_NAME = 100_000, 500
DEEPEST = 32  # levels of nesting in the metadata
MOST_SETTINGS = 10_000  # values of a config, each of which becomes an object
LONGEST_NUMBER = 100  # digits of a whole number: a seed has twenty
LARGEST_NUMBER = 2**62  # of a shape or place, and of what a shape's numbers make, but for zeros
BITS = {
    "BOOL": 8, "U8": 8, "I8": 8, "I16": 16, "U16": 16, "F16": 16, "BF16": 16, "I32": 32, "U32": 32,
    "F32": 32, "I64": 64, "U64": 64, "F64": 64,
}  # fmt: skip


class Place(NamedTuple):
    """Where a tensor's bytes are, counted from the end of the header, and what they are."""

    begin: int
    end: int
    name: str
    dtype: str  # as in BITS
    shape: tuple[int, ...]


class Header(NamedTuple):
    """What a header says, once it is checked: texts by name, and tensors in the file's order."""

    labels: dict[str, str]
    places: list[Place]


def read_header(file: BinaryIO, path: Path) -> Header:
    """Read the header of a file opened at its beginning, up to where the tensors begin.

    Raises CheckpointError unless the file is exactly what its header says; `path` is for messages.
    """
    size = os.fstat(file.fileno()).st_size
    start = file.read(8)
    length = struct.unpack("<Q", start)[0] if len(start) == 8 else 0
    if not 2 <= length <= min(LARGEST_HEADER, size - 8):
        raise damaged(path, f"its header would be {length:,} bytes, the file has {size:,}")
    text = file.read(length)
    try:
        header = _parsed(text)
    except (ValueError, RecursionError) as error:
        reason = str(error) or type(error).__name__
        raise damaged(path, f"its header is not JSON: {printable(reason)[:80]}") from error
    if not isinstance(header, dict):
        raise damaged(path, "its header is not a JSON object")
    labels = header.pop("__metadata__", {})
    if not isinstance(labels, dict) or not all(isinstance(v, str) for v in labels.values()):
        raise damaged(path, "its metadata is not text")
    if len(header) > MOST_TENSORS:
        raise damaged(path, f"it names {len(header):,} tensors; at most {MOST_TENSORS:,}")
    places = sorted(_place(path, name, header[name]) for name in header)
    end = 0
    for place in places:
        if place.begin != end:
            raise damaged(path, f"tensor {place.name} does not begin where the one before it ends")
        end = place.end
    if end != size - 8 - length:
        raise damaged(path, f"its tensors are {end:,} bytes, and {size - 8 - length:,} are there")
    return Header(labels, places)


def check_header(path: Path) -> Header:
    """The header of the file at `path`. Raises CheckpointError unless it is all that it says."""
    try:
        with path.open("rb") as file:
            return read_header(file, path)
    except OSError as error:
        raise CheckpointError(f"{path} cannot be read: {error.strerror}") from error


def read_metadata(path: Path, text: str) -> dict[str, Any]:
    """A checkpoint's JSON, as this version writes it.

    Raises CheckpointError where it is damaged, ambiguous or too deep.
    """
    try:
        metadata = _parsed(text)
    except (ValueError, RecursionError) as error:
        raise damaged(path, "its metadata is not JSON") from error
    if not isinstance(metadata, dict):
        raise damaged(path, "its metadata is not a JSON object")
    if _extent(metadata)[0] > DEEPEST:
        raise damaged(path, f"its metadata is nested more than {DEEPEST} levels deep")
    num_settings = _extent(metadata.get("config"))[1]
    if num_settings > MOST_SETTINGS:
        raise damaged(path, f"its config has {num_settings:,} values; at most {MOST_SETTINGS:,}")
    return as_now(metadata)


def _extent(value: Any) -> tuple[int, int]:
    """How deeply a value is nested, if not beyond all use, and how many values there are in it."""
    depth, number, level = 0, 0, [value]
    while level and depth <= DEEPEST:
        inner = [v for v in level if isinstance(v, dict | list)]
        level = [w for v in inner for w in (v.values() if isinstance(v, dict) else v)]
        depth, number = depth + 1, number + len(level)
    return depth, number


def _place(path: Path, name: str, entry: Any) -> Place:
    """Where a tensor's bytes begin and end, which must be as many as its type and shape want."""
    shown = printable(name)[:80]
    if len(name) > LONGEST_NAME:
        raise damaged(path, f"a tensor's name has {len(name):,} letters")
    if not isinstance(entry, dict) or set(entry) != {"dtype", "shape", "data_offsets"}:
        raise damaged(path, f"tensor {shown} has no type, shape and place")
    dtype, shape, place = entry["dtype"], entry["shape"], entry["data_offsets"]
    if not isinstance(dtype, str) or dtype not in BITS:
        raise damaged(path, f"tensor {shown} has the type {printable(str(dtype))[:20]}")
    for numbers in (shape, place):
        if not isinstance(numbers, list) or not all(map(_is_size, numbers)):
            raise damaged(path, f"tensor {shown} has an invalid shape or place")
    # A tensor without bytes may still have a shape that nothing can hold.
    if len(place) != 2 or len(shape) > 16 or math.prod(n or 1 for n in shape) > LARGEST_NUMBER:
        raise damaged(path, f"tensor {shown} has an invalid shape or place")
    begin, end = place
    if end - begin != math.prod(shape) * BITS[dtype] // 8:
        raise damaged(path, f"tensor {shown} does not have the bytes that its shape needs")
    return Place(begin, end, name, dtype, tuple(shape))


def _is_size(number: Any) -> bool:
    return type(number) is int and 0 <= number <= LARGEST_NUMBER


def _parsed(text: bytes | str) -> Any:
    """What JSON says, if each name is there once and every text can be written down.

    Raises ValueError, RecursionError.
    """
    value = json.loads(
        text,
        object_pairs_hook=_without_repeats,
        parse_int=_whole,
        parse_float=_finite,
        parse_constant=_finite,
    )
    json.dumps(value, ensure_ascii=False).encode()  # JSON has half pairs of letters, UTF-8 has not
    return value


def _whole(digits: str) -> int:
    if len(digits) > LONGEST_NUMBER:
        raise ValueError(f"a number has {len(digits):,} digits")
    return int(digits)


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(f"{text[:20]} is not a finite number")
    return number


def _without_repeats(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """An object whose names differ: JSON lets the last one win in silence."""
    made = dict(pairs)
    if len(made) != len(pairs):
        raise ValueError("a name appears twice")
    return made


def damaged(path: Path, why: str) -> CheckpointError:
    """The error for a file that is not what it should be."""
    return CheckpointError(f"{path} is damaged or not a safetensors file\n  {why}")

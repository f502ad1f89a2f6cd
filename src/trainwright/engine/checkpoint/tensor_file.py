"""Tensors in a safetensors file, written and read without a second copy of them in memory.

The library makes bytes of every tensor before it writes one, and aborts the process where memory
runs out; it maps what it reads, and a file that is cut short meanwhile kills the process. Here
either is an exception, and what was saved before stands. The format is the library's own:
https://huggingface.co/docs/safetensors
"""

import hashlib
import json
import struct
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from trainwright.errors import CheckpointError
from trainwright.runs.header import (
    LARGEST_HEADER,
    LONGEST_NAME,
    MOST_TENSORS,
    damaged,
    read_header,
)

DTYPES = {
    "BOOL": torch.bool, "U8": torch.uint8, "I8": torch.int8, "I16": torch.int16,
    "U16": torch.uint16, "F16": torch.float16, "BF16": torch.bfloat16, "I32": torch.int32,
    "U32": torch.uint32, "F32": torch.float32, "I64": torch.int64, "U64": torch.uint64,
    "F64": torch.float64,
}  # fmt: skip
NAMES = {dtype: name for name, dtype in DTYPES.items()}
ALIGNMENT = 8  # bytes, of where the first tensor begins


def unfit(tensors: Mapping[str, object], *, room: int = 1) -> str | None:
    """Why these are nothing that can be written and read again; None if they can be.

    `room`: how many times as many there may come to be, with as much longer names.
    """
    for name, tensor in tensors.items():
        if not isinstance(tensor, Tensor) or tensor.layout != torch.strided:
            return f"{name} is not a dense tensor"
        if tensor.dtype not in NAMES:
            return f"{name} is of type {tensor.dtype}, which the format lacks"
        if len(name) > LONGEST_NAME // room:
            return (
                f"{name[:40]}... is a name of {len(name)} letters, at most {LONGEST_NAME // room}"
            )
    if len(tensors) > MOST_TENSORS // room:
        return f"there are {len(tensors):,} tensors, at most {MOST_TENSORS // room:,}"
    return None


def write_tensors(path: Path, tensors: Mapping[str, Tensor], labels: Mapping[str, str]) -> None:
    """Write contiguous CPU tensors, and texts by name, to a new file.

    Each is asked for once, when its time has come; `known` says before what it will be. Raises
    OSError, and ValueError for what could not be read again.
    """
    shapes = known(tensors)
    problem = unfit(shapes)
    if problem is not None:
        raise ValueError(f"a checkpoint cannot hold this: {problem}")
    # The widest types first, so that each tensor begins at a multiple of its own width.
    order = sorted(shapes, key=lambda name: (-shapes[name].element_size(), name))
    header: dict[str, object] = {"__metadata__": dict(labels)}
    end = 0
    for name in order:
        tensor = shapes[name]
        begin, end = end, end + tensor.nbytes
        header[name] = {
            "dtype": NAMES[tensor.dtype],
            "shape": list(tensor.shape),
            "data_offsets": [begin, end],
        }
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % ALIGNMENT)
    if len(text) > LARGEST_HEADER:
        raise ValueError(f"a checkpoint cannot hold so much text: {len(text):,} bytes")
    with path.open("wb") as file:
        file.write(struct.pack("<Q", len(text)))
        file.write(text)
        for name in order:
            file.write(bytes_of(tensors[name]))


def known(tensors: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
    """Tensors of the same shapes and types, where those themselves have yet to be made."""
    found: Mapping[str, Tensor] = getattr(tensors, "known", tensors)
    return found


def read_tensors(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """The tensors of a file and its texts. Its header is checked before anything is allocated.

    Raises CheckpointError where the file is missing, cannot be read, or is not what its header
    says.
    """
    tensors = {}
    try:
        with path.open("rb") as file:
            header = read_header(file, path)
            for place in header.places:
                tensor = torch.empty(place.shape, dtype=DTYPES[place.dtype])
                if file.readinto(bytes_of(tensor)) != tensor.nbytes:
                    raise damaged(path, "it has become shorter while it was read")
                tensors[place.name] = tensor
    except OSError as error:
        raise CheckpointError(f"{path} cannot be read: {error.strerror}") from error
    return tensors, header.labels


def bytes_of(tensor: Tensor) -> memoryview:
    """The bytes of a contiguous CPU tensor, in place: to be read, or to be written into."""
    return tensor.reshape(-1).view(torch.uint8).numpy().data


def digest(tensors: Mapping[str, Tensor], text: str = "") -> str:
    """SHA-256 over a text and every contiguous CPU tensor's name, type, shape and bytes."""
    found = hashlib.sha256(text.encode())
    for name in sorted(tensors):
        value = tensors[name]
        found.update(f"\0{name}\0{value.dtype}\0{tuple(value.shape)}\0".encode())
        found.update(bytes_of(value))
    return found.hexdigest()

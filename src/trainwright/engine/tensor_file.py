"""Tensors in a safetensors file, written and read without a second copy of them in memory.

The library makes bytes of every tensor before it writes one, and aborts the process where memory
runs out; it maps what it reads, and a file that is cut short meanwhile kills the process. Here
either is an exception, and what was saved before stands. The format is the library's own:
https://huggingface.co/docs/safetensors
"""

import json
import struct
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from trainwright.engine.header import damaged, read_header
from trainwright.errors import CheckpointError

DTYPES = {
    "BOOL": torch.bool, "U8": torch.uint8, "I8": torch.int8, "I16": torch.int16,
    "U16": torch.uint16, "F16": torch.float16, "BF16": torch.bfloat16, "I32": torch.int32,
    "U32": torch.uint32, "F32": torch.float32, "I64": torch.int64, "U64": torch.uint64,
    "F64": torch.float64,
}  # fmt: skip
NAMES = {dtype: name for name, dtype in DTYPES.items()}
ALIGNMENT = 8  # bytes, of where the first tensor begins


def write_tensors(path: Path, tensors: Mapping[str, Tensor], labels: Mapping[str, str]) -> None:
    """Write contiguous CPU tensors, and texts by name, to a new file.

    Raises OSError, and ValueError for a tensor of a type that the format does not have.
    """
    for name, tensor in tensors.items():
        if tensor.dtype not in NAMES:
            raise ValueError(f"{name} is {tensor.dtype}, which a checkpoint cannot hold")
    # The widest types first, so that each tensor begins at a multiple of its own width.
    order = sorted(tensors, key=lambda name: (-tensors[name].element_size(), name))
    header: dict[str, object] = {"__metadata__": dict(labels)}
    end = 0
    for name in order:
        tensor = tensors[name]
        begin, end = end, end + tensor.nbytes
        header[name] = {
            "dtype": NAMES[tensor.dtype],
            "shape": list(tensor.shape),
            "data_offsets": [begin, end],
        }
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % ALIGNMENT)
    with path.open("wb") as file:
        file.write(struct.pack("<Q", len(text)))
        file.write(text)
        for name in order:
            file.write(bytes_of(tensors[name]))


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

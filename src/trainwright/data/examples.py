"""Examples as they are stored: a split in memory, mapped from a file, or windows of a stream."""

import mmap
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

Batch = dict[str, Tensor]  # columns by name, each (B, ...): as stored, or as a network sees them


class MappedColumn(NamedTuple):
    """A column (N, ...) that lies in a mapped file, an example after the other."""

    mapping: mmap.mmap
    examples: Tensor


class Split(ABC):
    """One part of a dataset: some examples, of which any can be taken."""

    device: torch.device = torch.device("cpu")  # where its examples are

    @abstractmethod
    def __len__(self) -> int:
        """How many examples there are."""

    @abstractmethod
    def take(self, indices: Tensor) -> Batch:
        """The examples at `indices` (B,) int64 as they are stored, each column (B, ...).

        `indices` and what is taken are on the device of the split.
        """

    def on(self, device: torch.device) -> "Split":
        """The split with its examples on that device, where they fit; else as it is."""
        return self

    @property
    def mapped(self) -> MappedColumn | None:
        """The largest column where it is mapped from a file, which may be larger than memory."""
        return None


def evenly(start: int, stop: int, num: int, split: Split) -> Tensor:
    """Of `num` places evenly from all over a split, which may be sorted, those from `start` on."""
    return torch.arange(start, stop, device=split.device) * len(split) // max(num, 1)


class Arrays(Split):
    """Examples in memory, or mapped from a file: a tensor (N, ...) a column.

    `mapping` is that of the file in which the first column lies, where it is mapped from one.
    """

    def __init__(self, columns: Mapping[str, Tensor], mapping: mmap.mmap | None = None) -> None:
        self.columns = dict(columns)
        self._mapping = mapping
        first = next(iter(self.columns.values()))
        self.device = first.device
        assert all(len(column) == len(first) for column in self.columns.values())

    def __len__(self) -> int:
        return len(next(iter(self.columns.values())))

    def take(self, indices: Tensor) -> Batch:
        """Copies of the examples."""
        return {name: column.index_select(0, indices) for name, column in self.columns.items()}

    def on(self, device: torch.device) -> Split:
        """On a GPU with room for the whole split beside the model: half of what is free."""
        if device.type == "cpu":
            return self
        if device.type == "cuda":
            free, _ = torch.cuda.mem_get_info(device)
            if sum(column.nbytes for column in self.columns.values()) >= free // 2:
                return self
        return Arrays({name: column.to(device) for name, column in self.columns.items()})

    @property
    def mapped(self) -> MappedColumn | None:
        """The first column, where there is a mapping."""
        if self._mapping is None:
            return None
        return MappedColumn(self._mapping, next(iter(self.columns.values())))

    def taken(self, indices: Tensor) -> "Arrays":
        """The examples at `indices` as a split of their own: a copy."""
        return Arrays(self.take(indices))


class Chosen(Split):
    """Some examples of another split, at `places` (n,) int64 in it: they stay where they are."""

    def __init__(self, split: Split, places: Tensor) -> None:
        self._split, self._places = split, places.to(split.device)
        self.device = split.device

    def __len__(self) -> int:
        return len(self._places)

    def take(self, indices: Tensor) -> Batch:
        """The examples, by their places among the chosen."""
        return self._split.take(self._places[indices])


class Windows(Split):
    """Windows of a stream of tokens (L,), one after the other, as a column (N, length).

    Each begins where the one before ends but for `overlap` tokens, so that with an overlap of one
    every token but the first is once the next one to be predicted. What is left at the end is left
    out; with `keep_rest` it is one more window, filled with -1. The stream may be mapped from a
    file; `dtype` is its own, or int32 where torch cannot compute with that.
    """

    def __init__(
        self,
        name: str,
        stream: Tensor,
        *,
        length: int,
        overlap: int = 1,
        keep_rest: bool = False,
        mapping: mmap.mmap | None = None,
    ) -> None:
        self._name, self._stream, self._length = name, stream, length
        self._stride, self._keep_rest, self._mapping = length - overlap, keep_rest, mapping
        room = max(0, len(stream) - overlap)
        self._size = -(-room // self._stride) if keep_rest else room // self._stride
        self.device = stream.device

    def __len__(self) -> int:
        return self._size

    def take(self, indices: Tensor) -> Batch:
        """The windows that begin at `indices` times the stride."""
        offsets = torch.arange(self._length, device=indices.device)
        places = indices[:, None] * self._stride + offsets  # (B, T)
        if not self._keep_rest:
            return {self._name: _widened(self._stream, places)}
        is_there = places < len(self._stream)
        tokens = _widened(self._stream, places.clamp(max=len(self._stream) - 1))
        return {self._name: tokens.int().masked_fill(~is_there, -1)}

    @property
    def mapped(self) -> MappedColumn | None:
        """The stream, where it is mapped from a file, as windows without their overlap."""
        num = len(self._stream) // self._stride
        if self._mapping is None or not num:
            return None
        return MappedColumn(
            self._mapping, self._stream[: num * self._stride].view(num, self._stride)
        )

    def on(self, device: torch.device) -> Split:
        """On that device: a token takes one byte, two or four."""
        if device.type == "cpu":
            return self
        return Windows(
            self._name,
            self._stream.to(device),
            length=self._length,
            overlap=self._length - self._stride,
            keep_rest=self._keep_rest,
        )


def _widened(stream: Tensor, places: Tensor) -> Tensor:
    """The tokens at some places; those of 16 or 32 bits without a sign as int32."""
    if stream.dtype == torch.uint16:
        return stream.view(torch.int16)[places].int() & 0xFFFF
    if stream.dtype == torch.uint32:
        return stream.view(torch.int32)[places]
    return stream[places]


def first_of(split: Split, num: int) -> Batch:
    """The first `num` examples, fewer where there are fewer, as stored."""
    return split.take(torch.arange(min(num, len(split)), device=split.device))


def all_of(split: Split, name: str, indices: Tensor | Sequence[int] | None = None) -> Tensor:
    """One column of all examples, or of those at `indices`, as stored, on the CPU."""
    if indices is None and isinstance(split, Arrays):
        return split.columns[name]
    chosen = torch.arange(len(split)) if indices is None else torch.as_tensor(indices)
    return split.take(chosen.to(split.device))[name].cpu()

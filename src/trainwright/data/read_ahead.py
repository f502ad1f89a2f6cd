"""Examples of a file that memory does not hold are asked for before they are needed.

Shuffled examples come from all over a mapped file. Where they are not in memory each is waited for,
and the system reads what lies around it as well, which drives out others that will be needed.
"""

import mmap
from collections.abc import Iterator
from contextlib import contextmanager
from resource import RUSAGE_SELF, getrusage

import torch
from torch import Tensor

SLOW = 0.05  # reads from disk for each example of a batch, from which on asking ahead pays


class ReadAhead:
    """Knows whether batches wait for the disk, and can ask it for examples of later ones.

    Asking takes about 2 µs an example, so it is worth it only where the file is not in memory:
    that is found out anew in every pass over the data.
    """

    def __init__(self, mapping: mmap.mmap, inputs: Tensor) -> None:
        """`inputs` (N, ...) are a window of what is mapped, an example after the other."""
        self._mapping = mapping
        self._offset = inputs.data_ptr() - torch.frombuffer(mapping, dtype=torch.uint8).data_ptr()
        self._num_examples = len(inputs)
        self._example_bytes = inputs[0].nbytes
        self._num_left = 0  # examples until it is found out anew

    @property
    def is_worth_it(self) -> bool:
        """Whether batches of this pass have waited for the disk."""
        return self._num_left > 0

    def ask_for(self, indices: Tensor) -> None:
        """Have the system begin to read these examples (B,), and return at once."""
        for index in indices.tolist():
            self._advise(mmap.MADV_WILLNEED, index, 1)

    @contextmanager
    def watching(self, num_examples: int) -> Iterator[None]:
        """Count how often the disk is waited for while so many examples are taken."""
        before = getrusage(RUSAGE_SELF).ru_majflt
        yield
        num_waits = getrusage(RUSAGE_SELF).ru_majflt - before
        if self._num_left > 0:
            self._num_left = max(0, self._num_left - num_examples)
            if self._num_left == 0:
                self._advise(mmap.MADV_NORMAL, 0, self._num_examples)
        elif num_waits > SLOW * num_examples:
            self._num_left = self._num_examples
            self._advise(mmap.MADV_RANDOM, 0, self._num_examples)  # read nothing around them

    def _advise(self, advice: int, index: int, num_examples: int) -> None:
        first = self._offset + index * self._example_bytes
        start = first - first % mmap.PAGESIZE
        self._mapping.madvise(advice, start, first - start + num_examples * self._example_bytes)

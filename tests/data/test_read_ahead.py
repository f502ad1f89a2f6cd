"""Batches from a file that is not in memory: the disk is asked early, and the same comes out.

Which pages of the file are in memory is asked of the system (mincore). Page faults are those of a
whole process, whose other pages a busy machine takes away as well.
"""

import ctypes
import mmap
import os
import time

import pytest
import torch

from trainwright.data.batches import Batches
from trainwright.data.columns import Numbers
from trainwright.data.read_ahead import ReadAhead
from trainwright.data.splits import split_of
from trainwright.data.stacked import StackedBatches

NUM, FIRST, BYTES, BATCH = 1200, 100, 3 * 64 * 64, 50  # the split begins at FIRST
AS_IS = {"inputs": Numbers((0.0,) * BYTES, (1.0,) * BYTES)}
PATIENCE = 20  # seconds, for a disk that is busy


class Mapping(mmap.mmap):
    """Notes which bytes of the file are asked for."""

    def madvise(self, advice, start=0, length=None):
        if advice == mmap.MADV_WILLNEED:
            self.asked = [*getattr(self, "asked", []), (start, start + length)]
        super().madvise(advice, start, len(self) if length is None else length)


class OnDisk:
    """Examples in a file, which is driven out of memory again and again."""

    def __init__(self, path):
        self.inputs = torch.randint(256, (NUM, BYTES), dtype=torch.uint8)
        path.write_bytes(self.inputs.numpy().tobytes())
        self._file = os.open(path, os.O_RDONLY)
        os.fsync(self._file)
        self.split = self.mapped()
        self.forget()
        if self.num_absent(torch.arange(0, NUM - FIRST, 100)) == 0:
            pytest.skip("this file system is in memory, or keeps what it is told to forget")

    def mapped(self):
        """Anew: what a mapping has touched stays in memory while it is mapped.

        Nothing is read around what is touched, so that each example is waited for by itself.
        """
        self.mapping = Mapping(self._file, 0, access=mmap.ACCESS_COPY)
        self.mapping.madvise(mmap.MADV_RANDOM)
        inputs = torch.frombuffer(self.mapping, dtype=torch.uint8).view(NUM, BYTES)
        return split_of(inputs[FIRST:], None, self.mapping)

    def forget(self):
        self.split = self.mapping = None
        os.posix_fadvise(self._file, 0, 0, os.POSIX_FADV_DONTNEED)
        self.split = self.mapped()

    def num_absent(self, indices):
        """How many of these examples have to be waited for: their file's pages are not there."""
        whole = torch.frombuffer(self.mapping, dtype=torch.uint8)
        pages = (ctypes.c_ubyte * -(-len(whole) // mmap.PAGESIZE))()
        address, length = ctypes.c_void_p(whole.data_ptr()), ctypes.c_size_t(len(whole))
        assert ctypes.CDLL(None).mincore(address, length, pages) == 0
        starts = ((FIRST + indices) * BYTES).tolist()
        ranges = [range(s // mmap.PAGESIZE, (s + BYTES - 1) // mmap.PAGESIZE + 1) for s in starts]
        return sum(not all(pages[page] & 1 for page in pages_of) for pages_of in ranges)

    def were_asked_for(self, indices):
        """Whether the system was asked for all bytes of each of these examples."""
        starts = ((FIRST + indices) * BYTES).tolist()
        asked = getattr(self.mapping, "asked", [])
        return all(any(a <= s and s + BYTES <= b for a, b in asked) for s in starts)


@pytest.fixture
def on_disk(tmp_path):
    return OnDisk(tmp_path / "images.bin")


def batches_of(split, seed=0):
    return Batches(split, AS_IS, batch_size=BATCH, seed=seed, device=torch.device("cpu"))


def test_examples_that_were_asked_for_are_there(on_disk):
    order = torch.randperm(NUM - FIRST)
    indices, others = order[:BATCH], order[BATCH:]
    assert on_disk.num_absent(indices) > BATCH / 2
    ReadAhead(on_disk.mapping, on_disk.split.columns["inputs"]).ask_for(indices)
    until = time.monotonic() + PATIENCE
    while on_disk.num_absent(indices) and time.monotonic() < until:
        time.sleep(0.01)
    assert on_disk.num_absent(indices) == 0
    assert on_disk.num_absent(others) > len(others) / 2  # those alone were read
    assert on_disk.split.columns["inputs"][indices].equal(on_disk.inputs[FIRST:][indices])


def taken_from(on_disk, batches, in_memory, indices_of):
    """Take the batches of a pass; each but the first ones was asked for before it was taken."""
    on_disk.mapping.asked = []
    assert on_disk.num_absent(indices_of(0)) > BATCH / 2
    for step in range(len(on_disk.split) // BATCH):
        assert on_disk.were_asked_for(indices_of(step)) == (step > 2), step
        taken = batches.at(step)["inputs"]
        assert taken.equal(in_memory.at(step)["inputs"])


def test_batches_are_those_of_memory_and_the_disk_is_asked_once_it_is_waited_for(on_disk):
    in_memory = batches_of(split_of(on_disk.inputs[FIRST:], None))
    taken_from(on_disk, batches_of(on_disk.split), in_memory, in_memory.indices)


def test_stacked_runs_ask_the_disk_as_each_does_alone(on_disk):
    members = [batches_of(on_disk.split, seed) for seed in range(2)]
    in_memory = [batches_of(split_of(on_disk.inputs[FIRST:], None), seed) for seed in range(2)]

    def indices_of(step):
        return torch.cat([member.indices(step) for member in in_memory])

    taken_from(on_disk, StackedBatches(members), StackedBatches(in_memory), indices_of)


def test_nothing_is_asked_where_the_file_is_in_memory(on_disk):
    on_disk.split.columns["inputs"].sum()

    def is_worth_it():
        ahead = ReadAhead(on_disk.mapping, on_disk.split.columns["inputs"])
        with ahead.watching(BATCH):
            on_disk.split.columns["inputs"].index_select(0, torch.arange(BATCH))
        return ahead.is_worth_it

    # Other pages of this process may be waited for meanwhile: now and then, and not each time.
    assert not all(is_worth_it() for _ in range(20))


def test_whether_it_is_worth_it_is_found_out_anew_in_every_pass(on_disk):
    ahead = ReadAhead(on_disk.mapping, on_disk.split.columns["inputs"])
    for start in range(0, NUM - FIRST, BATCH):
        with ahead.watching(BATCH):
            on_disk.split.columns["inputs"].index_select(0, torch.arange(start, start + BATCH))
        assert ahead.is_worth_it
    with ahead.watching(BATCH):
        pass
    assert not ahead.is_worth_it

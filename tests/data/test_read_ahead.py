"""Batches from a file that is not in memory: the disk is asked early, and the same comes out."""

import mmap
import os
from resource import RUSAGE_SELF, getrusage

import pytest
import torch

from trainwright.data.batches import Batches
from trainwright.data.columns import Numbers
from trainwright.data.read_ahead import ReadAhead
from trainwright.data.splits import split_of
from trainwright.data.stacked import StackedBatches

NUM, FIRST, BYTES, BATCH = 1200, 100, 3 * 64 * 64, 50  # the split begins at FIRST
AS_IS = {"inputs": Numbers((0.0,) * BYTES, (1.0,) * BYTES)}


class OnDisk:
    """Examples in a file, which is driven out of memory again and again."""

    def __init__(self, path):
        self.inputs = torch.randint(256, (NUM, BYTES), dtype=torch.uint8)
        path.write_bytes(self.inputs.numpy().tobytes())
        self._file = os.open(path, os.O_RDONLY)
        os.fsync(self._file)
        self.split = self.mapped()
        if not self.waits_for(torch.arange(0, NUM - FIRST, 100)):
            pytest.skip("this file system is in memory, or keeps what it is told to forget")

    def mapped(self):
        """Anew: what a mapping has touched stays in memory while it is mapped.

        Nothing is read around what is touched, so that each example is waited for by itself.
        """
        self.mapping = mmap.mmap(self._file, 0, access=mmap.ACCESS_COPY)
        self.mapping.madvise(mmap.MADV_RANDOM)
        inputs = torch.frombuffer(self.mapping, dtype=torch.uint8).view(NUM, BYTES)
        return split_of(inputs[FIRST:], None, self.mapping)

    def forget(self):
        self.split = self.mapping = None
        os.posix_fadvise(self._file, 0, 0, os.POSIX_FADV_DONTNEED)
        self.split = self.mapped()

    def waits_for(self, indices):
        """How often the disk is waited for while these are read, nothing of the file in memory."""
        self.forget()
        return num_waits(lambda: self.split.columns["inputs"].index_select(0, indices))


def num_waits(take):
    before = getrusage(RUSAGE_SELF).ru_majflt
    take()
    return getrusage(RUSAGE_SELF).ru_majflt - before


@pytest.fixture
def on_disk(tmp_path):
    return OnDisk(tmp_path / "images.bin")


def batches_of(split, seed=0):
    return Batches(split, AS_IS, batch_size=BATCH, seed=seed, device=torch.device("cpu"))


def test_examples_that_were_asked_for_are_not_waited_for(on_disk):
    indices = torch.randperm(NUM - FIRST)[:BATCH]
    assert on_disk.waits_for(indices) > BATCH / 2
    on_disk.forget()
    ReadAhead(on_disk.mapping, on_disk.split.columns["inputs"]).ask_for(indices)
    assert num_waits(lambda: on_disk.split.columns["inputs"].index_select(0, indices)) == 0
    assert on_disk.split.columns["inputs"][indices].equal(on_disk.inputs[FIRST:][indices])


def test_batches_are_those_of_memory_and_the_disk_is_asked_once_it_is_waited_for(on_disk):
    on_disk.forget()
    mapped = batches_of(on_disk.split)
    in_memory = batches_of(split_of(on_disk.inputs[FIRST:], None))
    waits, taken = [], []
    for step in range(len(on_disk.split) // BATCH):
        waits.append(num_waits(lambda step=step: taken.append(mapped.at(step)["inputs"])))
    assert waits[0] > BATCH / 2
    assert sum(waits[3:]) == 0
    for step, inputs in enumerate(taken):
        assert inputs.equal(in_memory.at(step)["inputs"])


def test_stacked_runs_ask_the_disk_as_each_does_alone(on_disk):
    on_disk.forget()
    members = [batches_of(on_disk.split, seed) for seed in range(2)]
    in_memory = [batches_of(split_of(on_disk.inputs[FIRST:], None), seed) for seed in range(2)]
    stacked, waits, taken = StackedBatches(members), [], []
    for step in range(len(on_disk.split) // BATCH):
        waits.append(num_waits(lambda step=step: taken.append(stacked.at(step)["inputs"])))
    assert waits[0] > BATCH / 2
    assert sum(waits[3:]) == 0
    for step, inputs in enumerate(taken):
        assert inputs.equal(StackedBatches(in_memory).at(step)["inputs"])


def test_nothing_is_asked_where_the_file_is_in_memory(on_disk):
    on_disk.split.columns["inputs"].sum()
    ahead = ReadAhead(on_disk.mapping, on_disk.split.columns["inputs"])
    with ahead.watching(BATCH):
        on_disk.split.columns["inputs"].index_select(0, torch.arange(BATCH))
    assert not ahead.is_worth_it


def test_whether_it_is_worth_it_is_found_out_anew_in_every_pass(on_disk):
    on_disk.forget()
    ahead = ReadAhead(on_disk.mapping, on_disk.split.columns["inputs"])
    for start in range(0, NUM - FIRST, BATCH):
        with ahead.watching(BATCH):
            on_disk.split.columns["inputs"].index_select(0, torch.arange(start, start + BATCH))
        assert ahead.is_worth_it
    with ahead.watching(BATCH):
        pass
    assert not ahead.is_worth_it

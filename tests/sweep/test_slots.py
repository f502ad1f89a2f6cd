"""How many jobs at once, with how many threads: no way to ask for more threads than cores."""

import pytest

from trainwright.sweep import slots
from trainwright.sweep.slots import Gpu, make_slots

GB = 2**30


@pytest.fixture(autouse=True)
def _machine(monkeypatch):
    """A machine of 8 cores with 10 GB free. (The real one differs from place to place.)"""
    monkeypatch.setattr(slots, "num_cores", lambda: 8)
    monkeypatch.setattr(slots, "free_memory", lambda: 10 * GB)


def made(*, wanted=None, num_jobs=100, threads=None, memory=0, gpus=(), gpu_memory=0):
    found = make_slots(
        wanted=wanted,
        num_jobs=num_jobs,
        threads=threads,
        memory=memory,
        gpus=gpus,
        gpu_memory=gpu_memory,
    )
    return len(found), found[0].threads


def test_cores_are_shared_out():
    assert made() == (8, 1)
    assert made(num_jobs=3) == (3, 2)
    assert made(wanted=2) == (2, 4)
    assert made(wanted=20) == (20, 1)
    assert made(threads=4) == (2, 4)


def test_memory_decides_too():
    assert made(memory=4 * GB) == (2, 4)  # 80 % of 10 GB
    assert made(memory=40 * GB) == (1, 8)


def test_gpus_hold_as_many_jobs_as_their_memory():
    gpus = [Gpu("0", 8 * GB), Gpu("1", 8 * GB)]
    found = make_slots(wanted=None, num_jobs=100, threads=None, memory=0, gpus=gpus, gpu_memory=GB)
    # 80 % of 8 GB hold four jobs of 1 GB and a context of 0.6 GB.
    assert [slot.environment["CUDA_VISIBLE_DEVICES"] for slot in found] == ["0", "1"] * 4
    assert made(gpus=gpus) == (2, 4)  # not measured: one each

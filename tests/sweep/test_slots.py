"""How many jobs at once, with how many threads: no way to ask for more threads than cores."""

import os
from collections import Counter

import pytest
from omegaconf import OmegaConf

from trainwright.errors import ConfigError
from trainwright.sweep.identity import job_id
from trainwright.sweep.job import Job
from trainwright.sweep.schedule.queue import Queue
from trainwright.sweep.schedule.scheduler import Scheduler
from trainwright.sweep.schedule.show import Show
from trainwright.sweep.settings import SweepSettings
from trainwright.sweep.store import Store
from trainwright.sweep.workers import slots
from trainwright.sweep.workers.slots import Gpu, Slot, make_slots, visible_gpus
from trainwright.sweep.workers.workers import Workers

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


def test_a_larger_gpu_holds_more_of_the_jobs():
    gpus = [Gpu("0", 4 * GB), Gpu("1", 14 * GB)]
    found = make_slots(wanted=None, num_jobs=100, threads=None, memory=0, gpus=gpus, gpu_memory=GB)
    # 80 % of 4 GB hold two jobs of 1.6 GB, those of 14 GB seven; there are cores for eight.
    names = Counter(slot.environment["CUDA_VISIBLE_DEVICES"] for slot in found)
    assert names == {"0": 2, "1": 6}


@pytest.fixture
def two_gpus(tmp_path, monkeypatch):
    """A program that answers as nvidia-smi does on a machine with two GPUs."""
    program = tmp_path / "nvidia-smi"
    program.write_text("#!/bin/sh\necho '0, GPU-aa, 8000'\necho '1, GPU-bb, 16000'\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)


def test_gpus_are_those_that_nvidia_smi_lists(two_gpus, monkeypatch):
    both = [Gpu("0", 8000 * 2**20), Gpu("1", 16000 * 2**20)]
    assert visible_gpus() == both
    for text, expected in (("1", both[1:]), ("GPU-bb,GPU-aa", both[::-1]), ("", []), ("7", [])):
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", text)
        assert visible_gpus() == expected


SEES = """
import os
from pathlib import Path
from trainwright.nn.mlp import MLP

class Sees(MLP):
    def __init__(self, *, input_shape: tuple[int, ...], num_outputs: int):
        super().__init__(input_shape=input_shape, num_outputs=num_outputs, widths=[8])
        with Path("seen").open("a") as file:
            file.write(os.environ["CUDA_VISIBLE_DEVICES"] + " ")
"""


@pytest.mark.slow
def test_each_job_sees_the_gpu_of_its_slot_alone(tmp_path, monkeypatch, composed):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "sees.py").write_text(SEES)
    store = Store(tmp_path / "sweep")
    store.prepare()
    store.write_plan({"ranked": None, "pictures": "best"})
    jobs = []
    for number in range(4):
        config = composed("trainer=smoke", f"seed={number}", "model=mlp")
        plain = OmegaConf.to_container(config, resolve=True)
        plain.pop("sweep")
        plain["model"] = {"_target_": "sees.Sees"}
        jobs.append(Job(job_id(plain), number, "job", {"seed": str(number)}, (), plain))
    places = [Slot(1, {"CUDA_VISIBLE_DEVICES": name}) for name in ("0", "1")]
    show, workers = Show(4, str), Workers(warm=True)
    try:
        queue = Queue(jobs, store)
        scheduler = Scheduler(queue, store, workers, places, SweepSettings(), show)
        assert scheduler.run().failed == []
    finally:
        workers.close()
        show.close()
    assert set((tmp_path / "seen").read_text().split()) == {"0", "1"}


def test_jobs_that_several_processes_share_take_as_many_cores_and_gpus():
    common = {"wanted": None, "num_jobs": 100, "threads": None, "gpu_memory": 0, "devices": 2}
    assert make_slots(memory=0, gpus=(), **common) == [Slot(1)] * 4
    assert make_slots(memory=0, gpus=(), **{**common, "wanted": 2}) == [Slot(2)] * 2
    assert len(make_slots(memory=2 * GB, gpus=(), **common)) == 2  # 80 % of 10 GB, 4 each
    gpus = [Gpu(str(number), GB) for number in range(5)]
    found = make_slots(memory=0, gpus=gpus, **common)
    assert [slot.environment["CUDA_VISIBLE_DEVICES"] for slot in found] == ["0,1", "2,3"]
    with pytest.raises(ConfigError, match="this machine has 5 GPUs"):
        make_slots(memory=0, gpus=gpus, **{**common, "devices": 6})

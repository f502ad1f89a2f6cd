"""A stack that memory does not hold goes on from its checkpoints, fewer runs at a time."""

import json
import multiprocessing
import resource
import sys
from pathlib import Path

import pytest
import torch
from omegaconf import OmegaConf

from trainwright.config.plan import Plan
from trainwright.engine.checkpoint import checkpoint
from trainwright.run.assemble.assemble import assemble
from trainwright.stack.measure import gain
from trainwright.sweep.identity import job_id
from trainwright.sweep.job import Job
from trainwright.sweep.schedule.queue import Queue
from trainwright.sweep.store import Store
from trainwright.sweep.workers.attempt import work_together
from trainwright.sweep.workers.tasks import TOO_LARGE, stack_task

pytestmark = pytest.mark.numeric
# Four million weights: a run in a stack has seven times as many numbers in memory, 115 MB.
LARGE = ("model.widths=[2000,2000]", "trainer.steps=4", "trainer.save_every=2",
         "trainer.precision=fp32", "trainer.threads=1", "trainer.batch_size=16",
         "trainer.plots=false", "data.limit=100", "trainer.evaluate_every=2")  # fmt: skip
ROOM = 330 * 2**20  # bytes beyond what the process has: for two runs, and not for four


def code_of(work, room=None):
    """The exit code of a process that returns what `work` does, with so much memory."""

    def target():
        torch.set_num_threads(1)
        if room is not None:
            status = Path("/proc/self/status").read_text().splitlines()
            (line,) = (line for line in status if line.startswith("VmData"))
            resource.setrlimit(resource.RLIMIT_DATA, 2 * (1024 * int(line.split()[1]) + room,))
        sys.exit(work())

    process = multiprocessing.get_context("fork").Process(target=target)
    process.start()
    process.join()
    return process.exitcode


def worked(task, room=None):
    """The exit code of a process that works on a stack, with so much memory."""
    return code_of(lambda: work_together(task), room)


def tried(composed):
    """What it brings to stack four such runs, as measured."""
    configs = [composed(*LARGE, f"seed={seed}") for seed in range(4)]
    data = assemble(Plan.of(configs[0])).dataset
    return gain("large", 4, lambda number: assemble(Plan.of(configs[number]), dataset=data))


def store_of(folder, composed):
    store = Store(folder)
    store.prepare()
    jobs = []
    for seed in range(4):
        config = OmegaConf.to_container(composed(*LARGE, f"seed={seed}"), resolve=True)
        jobs.append(Job(job_id(config), seed, f"seed-{seed}", {"seed": str(seed)}, (), config))
    store.add(jobs)
    return store, jobs


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="the limit on memory is Linux's")
def test_a_stack_for_which_memory_is_too_small_ends_by_halves_to_the_same_bits(composed, tmp_path):
    store, jobs = store_of(tmp_path / "whole", composed)
    assert worked(stack_task(jobs, store, threads=1, pruning=None)) == 0
    small, _ = store_of(tmp_path / "small", composed)
    assert worked(stack_task(jobs, small, threads=1, pruning=None), ROOM) == TOO_LARGE
    assert "finished" not in {small.state(job.id)["status"] for job in jobs}
    queue = Queue([], small, stacks=[[job.id for job in jobs]])
    assert queue.halve(jobs) == jobs
    assert [queue.with_stack(queue.next()) for _ in range(2)] == [jobs[:2], jobs[2:]]
    for half in (jobs[:2], jobs[2:]):
        assert worked(stack_task(half, small, threads=1, pruning=None), ROOM) == 0
    for job in jobs:
        assert json.loads((small.folder(job) / "summary.json").read_text())["status"] == "finished"
        mine, theirs = (
            checkpoint.load(s.folder(job) / "checkpoints" / "last.safetensors")[0]
            for s in (small, store)
        )
        assert mine.keys() == theirs.keys()
        assert all(torch.equal(mine[name], theirs[name]) for name in theirs)


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="the limit on memory is Linux's")
def test_a_plan_tries_as_many_together_as_memory_holds(composed):
    assert code_of(lambda: tried(composed).refused, ROOM) == 0  # or else, a reason

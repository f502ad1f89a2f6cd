"""Processes that make training steps when they are told to, alone or stacked, and their time."""

import multiprocessing
import os
import time
from collections.abc import Sequence
from multiprocessing.connection import Connection
from pathlib import Path

import torch
from composed import composed
from generated import load_generated
from measure import REST
from omegaconf import OmegaConf

from trainwright.config.plan import Plan
from trainwright.data.dataset import Dataset
from trainwright.run.assemble.assemble import Assembly, assemble
from trainwright.stack.measure import step_alone, steps_together

WORKS = {
    "small": ["model.widths=[64,64]"],
    "small_fp32": ["model.widths=[64,64]", "trainer.precision=fp32"],
    "small_bf16": ["model.widths=[64,64]", "trainer.precision=bf16"],
    "mlp": ["model.widths=[512,256]"],
    "cnn": ["model=cnn", "model.channels=[16,32]"],
    "gan": ["model=mlp_gan", "trainer.score_samples=0"],
}
MOST_BY_OTHERS = 0.1  # of a core, for a turn that counts


def assembled(overrides: Sequence[str], threads: int, count: int, data: Dataset) -> list[Assembly]:
    """Runs that differ in the seed, ready to train."""
    config = composed(*overrides, "trainer.steps=100000", f"trainer.threads={threads}")
    configs = [OmegaConf.merge(config, {"seed": seed}) for seed in range(count)]
    return [assemble(Plan.of(c), dataset=data) for c in configs]


class Worker:
    """A process that makes steps when it is told to."""

    def __init__(self, work: str) -> None:
        context = multiprocessing.get_context("spawn")
        self._pipe, theirs = context.Pipe()
        context.Process(target=_serve, args=(theirs, work), daemon=True).start()

    def begin(self, threads: int, members: int, seconds: float, at: float) -> None:
        """From the moment `at` (of time.time) on make steps for so long."""
        self._pipe.send((threads, members, seconds, at))

    def ended(self) -> tuple[float, float]:
        """Of what has begun: steps a second, each member's counted, and seconds of a core used."""
        found: tuple[float, float] = self._pipe.recv()
        return found


def _serve(pipe: Connection, work: str) -> None:
    data = load_generated(num_images=4000, num_test=500, shape=(1, 28, 28))
    makers = {}
    while True:
        try:
            threads, members, seconds, at = pipe.recv()
        except EOFError:  # nobody is left to tell it anything
            return
        torch.set_num_threads(threads)
        if (threads, members) not in makers:
            runs = assembled(WORKS[work], threads, members, data)
            makers[threads, members] = step_alone(runs[0]) if members == 1 else steps_together(runs)
        make = makers[threads, members]
        time.sleep(max(0.0, at - time.time()))
        num_steps, begun, used = 0, time.perf_counter(), time.process_time()
        while num_steps < 3 or time.perf_counter() - begun < seconds:
            make()
            num_steps += 1
        rate = members * num_steps / (time.perf_counter() - begun)
        pipe.send((rate, time.process_time() - used))


class DisturbedError(Exception):
    """Another process has computed during a turn."""


def turn(workers: Sequence[Worker], threads: int, count: int, seconds: float) -> float:
    """Seconds for a step of each of `count` runs, which the workers share, or DisturbedError."""
    begun = time.time()
    at = begun + REST
    shares = [len(range(number, count, len(workers))) for number in range(len(workers))]
    busy = [(worker, share) for worker, share in zip(workers, shares, strict=True) if share]
    before = used_by_all()
    for worker, share in busy:
        worker.begin(threads, share, seconds, at)
    rates, used = zip(*(worker.ended() for worker, _ in busy), strict=True)
    by_others = used_by_all() - before - sum(used)
    if seconds > 0 and by_others > MOST_BY_OTHERS * (time.time() - begun):
        raise DisturbedError
    return count / sum(rates)


def used_by_all() -> float:
    """Seconds of cores that all processes have used since the machine's start; 0 if not Linux."""
    path = Path("/proc/stat")
    if not path.exists():
        return 0.0
    user, nice, system = (int(word) for word in path.read_text().split()[1:4])
    return (user + nice + system) / os.sysconf("SC_CLK_TCK")

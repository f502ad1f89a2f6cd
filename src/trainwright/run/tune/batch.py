"""The largest batch that fits, by doubling: each size makes a few steps, and is measured.

On CUDA that goes on until memory runs out. On a CPU it ends before, for what runs out there ends
other programs too: the peak of the next size is foretold from the last two, and may take
SHARE of what was free.
"""

import contextlib
import gc
import os
import resource
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from trainwright.config.plan import Plan
from trainwright.data.dataset import Dataset
from trainwright.engine.device.memory import is_out_of_memory
from trainwright.engine.hook import Hook
from trainwright.engine.state import TrainState
from trainwright.engine.trainer import fit
from trainwright.errors import ConfigError
from trainwright.run.assemble.assemble import assemble
from trainwright.wording import format_bytes

SHARE = 0.8  # of the memory that was free when it began
STEPS = 3  # of each size; the first one is left out of the rate
LONGEST = 20.0  # seconds that a step may be foretold to take
_LINUX, _MAC = sys.platform == "linux", sys.platform == "darwin"
# What a group of processes may use and does, where the kernel limits it.
_GROUPS = (
    ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory.current"),
    (
        "/sys/fs/cgroup/memory/memory.limit_in_bytes",
        "/sys/fs/cgroup/memory/memory.usage_in_bytes",
    ),
)


class Tried(NamedTuple):
    """A size of batch that fits: the peak of memory in bytes, and how fast it was."""

    size: int
    peak: int
    rate: float  # examples a second


def doubled(plan: Plan, first: int, *, limit: int | None = None) -> Iterator[Tried | str]:
    """Each size that fits, from `first` on; at last in words why there is no larger one.

    `limit`: bytes that may be used, instead of those that the rule above finds. The process may be
    killed: a size that has been told did fit. Raises as `assemble` does.
    """
    dataset: Dataset | None = None
    size, before, floor = first, 0, 0
    settings = replace(plan.settings, score_samples=0)
    while True:
        settings = replace(settings, batch_size=size)
        try:
            assembly = assemble(replace(plan, settings=settings), dataset=dataset)
            dataset, device = assembly.dataset, assembly.state.placement.device
            if device.type not in ("cpu", "cuda"):
                raise ConfigError(f"memory is measured on cpu and cuda, and not on {device.type}")
            if not floor:
                floor = _peak(device)
                limit = limit or _room(device)
            if size > first and device.type == "cuda":
                torch.cuda.reset_peak_memory_stats(device)
            timer = _Timer()
            fit(assembly.state, assembly.train, [timer], settings)
        except Exception as error:
            if not is_out_of_memory(error):
                raise
            yield f"{size:,} is out of memory"
            return
        seconds, peak = timer.seconds_a_step, _peak(device)
        yield Tried(size, peak, size / seconds)
        # What does not grow with the batch was there before, or is all but the last growth.
        growth = peak - before if before else peak - floor
        foretold, before = peak + 2 * growth if before else peak + growth, peak
        if 2 * size > len(assembly.dataset.train):
            yield f"{2 * size:,} is more than the {len(assembly.dataset.train):,} training examples"
            return
        if limit and foretold > limit:
            wanted, given = format_bytes(foretold), format_bytes(limit)
            yield f"{2 * size:,} would take {wanted}, and {given} may be used"
            return
        if 2 * seconds > LONGEST:
            yield f"a step of {2 * size:,} would take {2 * seconds:.0f} s"
            return
        size *= 2
        del assembly  # before the next one is made
        gc.collect()


def _peak(device: torch.device) -> int:
    """The most memory in bytes that was used so far: of the device, or of this process."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    if _LINUX:  # where ru_maxrss begins with that of the process that started us
        return _kilobytes(Path("/proc/self/status"), "VmHWM") * 1024
    unit = 1 if _MAC else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def _room(device: torch.device) -> int:
    """How many bytes this process may come to use; 0 where only trying tells."""
    if device.type != "cpu":
        return 0
    if not _LINUX:
        return int(SHARE * os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"))
    own = _kilobytes(Path("/proc/self/status"), "VmRSS") * 1024
    free = _kilobytes(Path("/proc/meminfo"), "MemAvailable") * 1024
    for most, used in _GROUPS:
        with contextlib.suppress(OSError, ValueError):  # no such group, or no limit ("max")
            free = min(free, max(0, int(Path(most).read_text()) - int(Path(used).read_text())))
    return own + int(SHARE * free)


def _kilobytes(path: Path, name: str) -> int:
    for line in path.read_text().splitlines():
        if line.startswith(f"{name}:"):
            return int(line.split()[1])
    return 0


class _Timer(Hook):
    """Ends the training after a few steps."""

    def __init__(self) -> None:
        self._times: list[float] = []

    @property
    def seconds_a_step(self) -> float:
        """Without the first step, which also prepares."""
        return max(1e-9, (self._times[-1] - self._times[0]) / max(1, len(self._times) - 1))

    def due(self, step: int, total: int) -> bool:
        """Always."""
        return True

    def __call__(self, state: TrainState, metrics: dict[str, Tensor]) -> None:
        """Note the time when the step is done, on whatever device."""
        for value in metrics.values():
            float(value.mean())
        self._times.append(time.perf_counter())
        if len(self._times) == STEPS:
            state.stop_reason = "measured"

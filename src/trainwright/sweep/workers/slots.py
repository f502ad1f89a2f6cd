"""How many jobs run at once, and what each of them may use: cores, memory, a GPU."""

import os
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from trainwright.cores import num_cores
from trainwright.errors import ConfigError

GPU_CONTEXT = 600 * 2**20  # bytes that CUDA itself takes in each process
MOST_STACKED = 64  # members of a stack, where memory sets no limit
SHARE_OF_MEMORY = 0.8  # of what is free; the rest is for evaluation, plots and everyone else


@dataclass(frozen=True)
class Slot:
    """A place for one job."""

    threads: int
    environment: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Gpu:
    """A GPU by the name that CUDA_VISIBLE_DEVICES takes, and its free memory in bytes."""

    name: str
    free: int


def make_slots(
    *,
    wanted: int | None,
    num_jobs: int,
    threads: int | None,
    memory: int,
    gpus: Sequence[Gpu],
    gpu_memory: int,
    devices: int = 1,
) -> list[Slot]:
    """The places for `num_jobs` jobs that each need so much memory, in bytes (0: unknown).

    `wanted` decides how many at once where it is given (sweep.jobs), else what the machine has.
    `threads`: of each job, where the config says so; else all cores are shared out. `devices`: how
    many processes share a job, with so many threads and so much memory each, and a GPU where there
    are any. Raises ConfigError where there are too few GPUs for one job.
    """
    cores, memory = max(1, num_cores() // devices), memory * devices
    if gpus and devices > 1:
        return _groups_of_gpus(gpus, devices, wanted or num_jobs, threads or cores)
    if wanted is not None:
        count = wanted
    elif gpus:
        count = sum(_jobs_on(gpu, gpu_memory) for gpu in gpus)
        count = min(count, max(len(gpus), cores))
    else:
        count = max(1, cores // (threads or 1))
    if wanted is None and memory > 0:
        count = min(count, max(1, int(SHARE_OF_MEMORY * free_memory() / memory)))
    count = max(1, min(count, num_jobs))
    each = threads or max(1, cores // count)
    if not gpus:
        return [Slot(each)] * count
    names = _spread(gpus, gpu_memory, count)
    return [Slot(each, {"CUDA_VISIBLE_DEVICES": name}) for name in names]


def _groups_of_gpus(gpus: Sequence[Gpu], size: int, most: int, threads: int) -> list[Slot]:
    """A place for each group of so many GPUs."""
    num = min(most, len(gpus) // size)
    if num == 0:
        raise ConfigError(f"trainer.devices={size}: this machine has {len(gpus)} GPUs to use")
    names = [",".join(gpu.name for gpu in gpus[i * size : (i + 1) * size]) for i in range(num)]
    return [Slot(max(1, threads // num), {"CUDA_VISIBLE_DEVICES": group}) for group in names]


def _spread(gpus: Sequence[Gpu], gpu_memory: int, count: int) -> list[str]:
    """The GPU of each of `count` jobs: all are filled to the same share, however large they are."""
    room = {gpu.name: _jobs_on(gpu, gpu_memory) for gpu in gpus}
    used = dict.fromkeys(room, 0)
    names = []
    for _ in range(count):
        name = min(room, key=lambda name: (used[name] + 1) / room[name])
        used[name] += 1
        names.append(name)
    return names


def members_held(memory: int, num_at_once: int) -> int:
    """How many members memory holds in each of so many stacks, if a run needs so many bytes."""
    if memory <= 0:
        return MOST_STACKED
    return max(2, min(MOST_STACKED, int(SHARE_OF_MEMORY * free_memory() / memory / num_at_once)))


def _jobs_on(gpu: Gpu, gpu_memory: int) -> int:
    """How many jobs fit on a GPU, one where nobody has measured."""
    if gpu_memory <= 0:
        return 1
    return max(1, int(SHARE_OF_MEMORY * gpu.free / (gpu_memory + GPU_CONTEXT)))


def free_memory() -> int:
    """The bytes of memory that are free, in the machine or in the container's limit."""
    if sys.platform != "linux":
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2
    lines = Path("/proc/meminfo").read_text().splitlines()
    available = next(line for line in lines if line.startswith("MemAvailable"))
    free = 1024 * int(available.split()[1])
    limit = _first_line(Path("/sys/fs/cgroup/memory.max"))
    used = _first_line(Path("/sys/fs/cgroup/memory.current"))
    if limit.isdigit() and used.isdigit():
        free = min(free, max(0, int(limit) - int(used)))
    return free


def visible_gpus() -> list[Gpu]:
    """The GPUs that CUDA_VISIBLE_DEVICES leaves, as nvidia-smi lists them; none without it.

    Asked of another program, since this process and those that fork must not touch CUDA.
    """
    program = shutil.which("nvidia-smi")
    if program is None:
        return []
    command = [program, "--query-gpu=index,uuid,memory.free", "--format=csv,noheader,nounits"]
    asked = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603
    rows = [line.split(", ") for line in asked.stdout.splitlines() if line.count(", ") == 2]
    found = {index: Gpu(index, int(free) * 2**20) for index, _, free in rows if free.isdigit()}
    by_uuid = {uuid: index for index, uuid, _ in rows}
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible is None:
        return list(found.values())
    names = [by_uuid.get(name.strip(), name.strip()) for name in visible.split(",")]
    return [found[name] for name in names if name in found]


def _first_line(path: Path) -> str:
    try:
        return path.read_text().splitlines()[0]
    except (OSError, IndexError):
        return ""

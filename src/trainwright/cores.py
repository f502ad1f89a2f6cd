"""The cores that this process may use, and how many of them other programs leave free. No torch.

A library that computes with two threads where one core is free waits for both at every turn, and
spins while it waits: on two busy cores a small network then trains ten times as slowly as with one.
"""

import contextlib
import os
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

SHORTEST, LONGEST = 0.1, 120.0  # seconds in which it is measured who computes
CHOSEN = ("OMP_NUM_THREADS", "MKL_NUM_THREADS")  # what a person sets who knows better

started: list[int] = []  # processes of our own beside this one


@dataclass(frozen=True)
class Sample:
    """The CPU seconds that have been used until now."""

    when: float
    own: float  # by this process and those that it has started
    by_all: float  # on the cores that this process may use
    by_groups: tuple[tuple[float, float], ...] = ()  # of groups with a quota: cores, seconds

    def free_since(self, before: "Sample", cores: int) -> float:
        """How many cores nobody but this process has used since an earlier sample."""
        seconds = self.when - before.when
        own = self.own - before.own
        free = [cores - (self.by_all - before.by_all - own) / seconds]
        for (quota, now), (_, then) in zip(self.by_groups, before.by_groups, strict=False):
            free.append(quota - (now - then - own) / seconds)
        return min(cores, *free)


_last: list[Sample] = []


def begin_to_watch() -> None:
    """Measure from now on; who asks for `free_cores` then need not wait for an answer."""
    _last[:] = [_sample()]


def free_cores() -> float:
    """How many cores nobody else has used since this was last asked; waits a moment if need be."""
    if not _last or time.monotonic() - _last[0].when > LONGEST:
        begin_to_watch()
    time.sleep(max(0.0, _last[0].when + SHORTEST - time.monotonic()))
    before = _last[0]
    begin_to_watch()
    return _last[0].free_since(before, num_cores())


def threads_worth_having(usual: int) -> int:
    """How many threads of the usual number have a core of their own; all if a person chose that."""
    if usual == 1 or any(os.environ.get(name) for name in CHOSEN) or sys.platform != "linux":
        return usual
    return max(1, min(usual, int(free_cores() + 0.5)))


def num_cores() -> int:
    """The cores that this process may use: those it is bound to, and a container's quota."""
    if sys.platform != "linux":
        return os.cpu_count() or 1
    quotas = [quota for quota in map(_quota, _groups()) if quota is not None]
    return max(1, int(min([len(os.sched_getaffinity(0)), *quotas])))


def _sample() -> Sample:
    groups = [(quota, _used(group)) for group in _groups() if (quota := _quota(group)) is not None]
    times = os.times()
    own = time.process_time() + times.children_user + times.children_system
    own += sum(map(_used_by, started))
    return Sample(time.monotonic(), own, _used_on(Path("/proc/stat")), tuple(groups))


def _used_on(stat: Path) -> float:
    """What all programs have used of these cores, and a hypervisor has kept from them."""
    cores = {f"cpu{number}" for number in os.sched_getaffinity(0)}
    rows = [line.split() for line in _text(stat).splitlines()]
    ticks = 0
    for row in rows:
        if row and row[0] in cores:
            user, nice, system, _, _, *others = map(int, row[1:9])  # without: idle, waiting
            ticks += user + nice + system + sum(others)
    return ticks / os.sysconf("SC_CLK_TCK")


def _used_by(process: int) -> float:
    fields = _text(Path(f"/proc/{process}/stat")).rpartition(")")[2].split()
    return sum(map(int, fields[11:13])) / os.sysconf("SC_CLK_TCK")


def _groups() -> Iterator[Path]:
    """The control groups that this process is in, of both versions, and those around them."""
    for line in _text(Path("/proc/self/cgroup")).splitlines():
        _, kinds, name = line.split(":", 2)
        if kinds == "" or "cpu" in kinds.split(","):
            root = Path("/sys/fs/cgroup", "cpu" if kinds else "")
            folder = root / name.lstrip("/")
            yield from (path for path in (folder, *folder.parents) if path.is_relative_to(root))


def _quota(group: Path) -> float | None:
    """How many cores a group may use at once, if that is limited."""
    limit = _text(group / "cpu.max").split()
    if not limit:
        limit = [_text(group / f"cpu.cfs_{name}_us").strip() for name in ("quota", "period")]
    with contextlib.suppress(ValueError, ZeroDivisionError):
        cores = int(limit[0]) / int(limit[1])
        return cores if cores > 0 else None
    return None


def _used(group: Path) -> float:
    """The CPU seconds that the processes of a group have used."""
    known = dict(line.split() for line in _text(group / "cpu.stat").splitlines())
    if "usage_usec" in known:
        return int(known["usage_usec"]) / 1e6
    return int(_text(group / "cpuacct.usage").strip() or 0) / 1e9


def _text(path: Path) -> str:
    with contextlib.suppress(OSError):
        return path.read_text()
    return ""

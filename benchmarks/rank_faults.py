"""How long until a run trains again after a rank was killed, and until it is gone after SIGTERM?

    python benchmarks/rank_faults.py [--ranks 2] [--kills 5] [--stops 5] [--shard]

A small CNN on the digits of scikit-learn, saved every 20 steps, as a person starts it. Restarts:
from the moment that a rank, each in turn, is killed (SIGKILL) to the first step that is logged
after that. Stops: from SIGTERM to a rank, each in turn, to the end of all processes. A step is the
mean of those between the first that was logged and the last.
"""

import argparse
import json
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

TYPED = (
    "data=digits", "model=cnn", "model.channels=[8, 16]", "trainer.epochs=null",
    "trainer.steps=1000000", "trainer.log_every=1", "trainer.save_every=20", "trainer.threads=1",
    "trainer.plots=false", "trainer.evaluate_every=0", "trainer.max_restarts=1000",
    "trainer.events=json",
)  # fmt: skip
ENOUGH = 30  # steps, of which some are saved


class Command:
    """`train`, and what it tells as JSON."""

    def __init__(self, typed: Sequence[str], folder: str) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "trainwright", *typed],
            cwd=folder,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def step(self, after: str = "") -> int:
        """The next step that is logged after a line in which that stands."""
        assert self.process.stdout is not None
        for line in self.process.stdout:
            if after in line:
                after = ""
            if not after and line.startswith("{"):
                event: dict[str, Any] = json.loads(line)
                if event.get("event") == "metrics":
                    return int(event["step"])
        raise SystemExit("the run has ended")

    def ranks(self) -> list[int]:
        """The processes that it has started as ranks, by their number."""
        found = {}
        for entry in Path("/proc").iterdir():
            try:
                parent = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
                if parent == self.process.pid and b"ranks.rank" in (entry / "cmdline").read_bytes():
                    found[int(entry.name)] = int((entry / "stat").read_text().split()[21])
            except (OSError, ValueError, IndexError):
                continue
        return sorted(found, key=lambda pid: (found[pid], pid))

    def train(self) -> float:
        """Let it train for a while; returns the seconds of a step."""
        first, begun = self.step(), time.monotonic()
        while (last := self.step()) < first + ENOUGH:
            pass
        return (time.monotonic() - begun) / (last - first)


def cpu_seconds(pid: int) -> float:
    """That a process has taken until now."""
    times = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[11:13]
    return sum(map(int, times)) / os.sysconf("SC_CLK_TCK")


def restarts(command: Command, number: int, size: int) -> list[tuple[float, float]]:
    """Seconds from a kill to the next step, so many times, and of a processor for each rank."""
    seconds = []
    for turn in range(number):
        command.train()
        begun = time.monotonic()
        os.kill(command.ranks()[turn % size], signal.SIGKILL)
        command.step(after=f"restart {turn + 1} of")
        took = time.monotonic() - begun
        seconds.append((took, sum(map(cpu_seconds, command.ranks())) / size))
    return seconds


def stop(command: Command, rank: int) -> tuple[float, float]:
    """Seconds from SIGTERM to the end, and of a step before that."""
    step = command.train()
    ranks = command.ranks()
    begun = time.monotonic()
    os.kill(ranks[rank], signal.SIGTERM)
    command.process.communicate()
    while any(Path(f"/proc/{pid}").exists() for pid in ranks):
        time.sleep(0.01)
    assert command.process.returncode == 128 + signal.SIGTERM
    return time.monotonic() - begun, step


def main() -> None:
    """Kill and stop, and print what it took."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--ranks", type=int, default=2)
    parser.add_argument("--kills", type=int, default=5)
    parser.add_argument("--stops", type=int, default=5)
    parser.add_argument("--shard", action="store_true")
    args = parser.parse_args()
    typed = [*TYPED, f"trainer.devices={args.ranks}", f"trainer.shard={args.shard}"]
    again: list[tuple[float, float]] = []
    stops: list[tuple[float, float]] = []
    with tempfile.TemporaryDirectory() as folder:
        for turn in range(max(args.stops, 1)):
            command = Command([*typed, f"run.dir={turn}"], folder)
            if not turn:
                again = restarts(command, args.kills, args.ranks)
            stops.append(stop(command, turn % args.ranks))
    for what, found in (
        ("from a killed rank to training again", [seconds for seconds, _ in again]),
        ("of a processor for each rank until then", [seconds for _, seconds in again]),
        ("from SIGTERM to all gone", [seconds for seconds, _ in stops]),
        ("beyond a step", [seconds - step for seconds, step in stops]),
    ):
        if found:
            shown = f"median {statistics.median(found):.2f} s, {min(found):.2f} to {max(found):.2f}"
            print(f"{what}: {shown}, {len(found)} times")


if __name__ == "__main__":
    main()

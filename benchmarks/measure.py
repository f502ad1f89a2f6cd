"""Measure sides in processes of their own: whole runs one by one, or training in turns."""

import json
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from works import Work

HERE = Path(__file__).resolve().parent
REST = 0.02  # seconds between two turns, in which the last side's threads fall asleep


class SideError(Exception):
    """A side that ended before it had said what was asked of it."""


@dataclass(frozen=True)
class Whole:
    """A process from Enter to exit: seconds, peak memory in MB, and the score on the test split."""

    seconds: float
    peak_mb: float
    score: dict[str, float]


def run_whole(side: str, work: Work, setting: str, mnist: Path | None) -> Whole:
    """Start the side as a user would, and wait. Raises SideError where it fails."""
    with _desk() as desk:
        if side == "ours":
            from peers.ours import overrides

            train = str(Path(sys.executable).with_name("train"))
            command = [train, *overrides(work, setting, mnist), "run.dir=run"]
        else:
            command = _command(side, work, setting, mnist)
        seconds, peak_mb = timed(command, desk)
        if side == "ours":
            score = json.loads((desk / "run" / "summary.json").read_text())["test"]
        else:
            score = json.loads((desk / "out").read_text().splitlines()[-1])
        metric = "sliced_wasserstein" if work.network == "gan" else "accuracy"
        return Whole(seconds, peak_mb, {metric: score[metric]})


def timed(
    command: Sequence[str], desk: Path, extra: dict[str, str] | None = None
) -> tuple[float, float]:
    """Run a command in the folder `desk`; return its wall-clock seconds and its peak memory in MB.

    Its output goes to the files `out` and `err`. Raises SideError if it does not exit with 0.
    """
    with (desk / "out").open("w") as out, (desk / "err").open("w") as err:
        begun = time.perf_counter()
        process = subprocess.Popen(
            command, cwd=desk, stdout=out, stderr=err, env=environment(extra)
        )
        _, status, usage = os.wait4(process.pid, 0)
        seconds = time.perf_counter() - begun
        process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode != 0:
        raise SideError((desk / "err").read_text()[-2000:])
    return seconds, _megabytes(usage)


def run_turns(
    sides: Sequence[str], work: Work, setting: str, mnist: Path | None, num_turns: int
) -> dict[str, list[float]]:
    """Let the sides train in turns (see gate.py); return the images a second of each turn.

    A side that fails is left out, with a word about it.
    """
    with _desk() as desk:
        started: dict[str, _Turner] = {}
        try:
            for side in sides:
                folder = desk / side
                _furnish(folder)
                turner = _Turner(side, _command(side, work, setting, mnist), folder)
                started[side] = turner
                try:
                    turner.wait()  # until it is warm: nothing else computes meanwhile
                except SideError as error:
                    print(f"{side} failed:\n{error}", file=sys.stderr)
                    del started[side]
            rates: dict[str, list[float]] = {side: [] for side in started}
            for number in range(num_turns):
                order = list(started.items())
                for side, turner in order if number % 2 == 0 else order[::-1]:
                    time.sleep(REST)
                    seconds = turner.turn()
                    rates[side].append(work.turn * work.batch_size / seconds)
            return rates
        finally:
            for turner in started.values():
                turner.close()


class _Turner:
    """A side in a process, and both ends of its gate."""

    def __init__(self, side: str, command: Sequence[str], desk: Path) -> None:
        self._reports, its_reports = os.pipe()
        its_turns, self._turns = os.pipe()
        self._err = desk / "err"
        with (desk / "out").open("w") as out, self._err.open("w") as err:
            self._process = subprocess.Popen(
                [*command, "--turns", str(its_reports), str(its_turns)],
                cwd=desk,
                stdout=out,
                stderr=err,
                env=environment(),
                pass_fds=(its_reports, its_turns),
            )
        os.close(its_reports)
        os.close(its_turns)

    def wait(self) -> str:
        """Its next report."""
        line = b""
        while not line.endswith(b"\n"):
            part = os.read(self._reports, 64)
            if not part:
                raise SideError(self._err.read_text()[-2000:])
            line += part
        return line.decode().strip()

    def turn(self) -> float:
        """Give it a turn; return the seconds that it took."""
        os.write(self._turns, b".")
        return float(self.wait())

    def close(self) -> None:
        """End it."""
        os.close(self._turns)
        os.close(self._reports)
        self._process.kill()
        self._process.wait()


def _command(side: str, work: Work, setting: str, mnist: Path | None) -> list[str]:
    command = [sys.executable, "-m", "side", side, work.name, setting]
    command += ["--images", str(work.num_images)]
    return command if mnist is None else [*command, "--mnist", str(mnist)]


def environment(extra: dict[str, str] | None = None) -> dict[str, str]:
    """A user's own: whatever the shell says about threads is left out, so that defaults count.

    So is what keeps Python from keeping bytecode, which installed packages have.
    """
    ours = ("OMP_", "MKL_", "KMP_", "PYTHON")
    env = {k: v for k, v in os.environ.items() if not k.startswith(ours)}
    return {**env, "PYTHONPATH": str(HERE), "HF_HUB_OFFLINE": "1", **(extra or {})}


@contextmanager
def _desk() -> Iterator[Path]:
    """A folder in which sides may leave what they like, and where `train` finds our configs."""
    with tempfile.TemporaryDirectory() as folder:
        desk = Path(folder)
        _furnish(desk)
        yield desk


def _furnish(desk: Path) -> None:
    desk.mkdir(exist_ok=True)
    shutil.copytree(HERE / "configs", desk / "configs")


def _megabytes(usage: resource.struct_rusage) -> float:
    """The peak of what was in memory; Linux counts in KB, macOS in bytes."""
    return usage.ru_maxrss / (2**20 if sys.platform == "darwin" else 2**10)

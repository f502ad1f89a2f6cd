"""Real trainings in forked children, to be killed: torch is imported once, a child costs little.

A child has one thread, as every test has: one and two threads differ to the bit. What it prints
goes to a file. Tests give it a function, such as a call of the fixtures `train` and `resume`.
"""

import hashlib
import json
import logging
import mmap
import os
import random
import select
import signal
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from trainwright.cli.terminal.failure import was_interrupted
from trainwright.cli.train import log_to_console
from trainwright.engine import trainer
from trainwright.engine.checkpoint import checkpoint
from trainwright.errors import TrainwrightError
from trainwright.progress import own_progress_lock
from trainwright.run.request import Outcome

WAIT = 240  # seconds that a child has at most: the machine may be busy
DRAWN_EVERY = 10  # in one of so many trials the plots at the end are drawn and compared too


@dataclass
class Child:
    """A forked process that calls a function and exits with a code, as the command would."""

    pid: int
    output: Path
    code: int | None = None  # -9 after SIGKILL
    cpu_seconds: float = 0.0  # when it has ended

    def signal(self, number: int = signal.SIGKILL) -> None:
        """Send a signal, if the child is still there."""
        if not self.ended():
            os.kill(self.pid, number)

    def ended(self) -> bool:
        """Whether it has ended; it is reaped then."""
        if self.code is None:
            pid, status, used = os.wait4(self.pid, os.WNOHANG)
            if pid:
                self.code = os.waitstatus_to_exitcode(status)
                self.cpu_seconds = used.ru_utime + used.ru_stime
        return self.code is not None

    def wait(self) -> int:
        """The exit code once it has ended; a child that takes too long is killed."""
        with suppress(ProcessLookupError):
            descriptor = os.pidfd_open(self.pid)
            readable, _, _ = select.select([descriptor], [], [], WAIT)
            os.close(descriptor)
            if not readable:
                os.kill(self.pid, signal.SIGKILL)
        while not self.ended():
            pass
        assert self.code is not None
        return self.code

    @property
    def text(self) -> str:
        """What it has printed."""
        return self.output.read_text()


def start(function: Callable[[], Any], output: Path) -> Child:
    """Fork, and call the function in the child: its outcome or error becomes an exit code."""
    output.parent.mkdir(parents=True, exist_ok=True)
    output.touch()
    sys.stdout.flush()
    sys.stderr.flush()
    pid = os.fork()
    if pid:
        return Child(pid, output)
    code = 1
    try:
        descriptor = os.open(output, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.dup2(descriptor, 1)
        os.dup2(descriptor, 2)
        sys.stdout = os.fdopen(os.dup(1), "w", buffering=1)
        sys.stderr = os.fdopen(os.dup(2), "w", buffering=1)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        own_progress_lock()
        torch.set_num_threads(1)
        logging.getLogger("trainwright").handlers.clear()
        log_to_console()
        code = _code_of(function)
    except KeyboardInterrupt:
        code = 130  # before it had begun
    finally:
        os._exit(code)


def _code_of(function: Callable[[], Any]) -> int:
    try:
        outcome = function()
    except TrainwrightError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        print("stopped at once", file=sys.stderr)
        return 130
    except BaseException as error:
        traceback.print_exc()
        return 130 if was_interrupted(error) else 1
    if isinstance(outcome, Outcome) and outcome.signal is not None:
        return 128 + outcome.signal
    return 0


def pictures(trial: int) -> tuple[str, ...]:
    """The override that says whether a trial draws its plots: they take most of a small run's time.

    Grids of samples are drawn, and compared, in every trial.
    """
    return (f"trainer.plots={str(trial % DRAWN_EVERY == 0).lower()}",)


class Steps:
    """How many steps a run has done: it counts in a child, and its parent reads."""

    def __init__(self) -> None:
        self._shared = mmap.mmap(-1, 8)

    @property
    def done(self) -> int:
        """The steps that are behind the run, also after its process was killed."""
        return int.from_bytes(self._shared[:8], "little")

    def counted(self, function: Callable[[], Any]) -> Callable[[], Any]:
        """The function, for a child: each step that is done in it is counted."""

        def call() -> Any:
            take_step = trainer.train_step

            def counted_step(state: Any, batch: Any, settings: Any) -> Any:
                metrics = take_step(state, batch, settings)
                self._shared[:8] = (state.step + 1).to_bytes(8, "little")
                return metrics

            trainer.train_step = counted_step
            return function()

        return call


def seconds_of(function: Callable[[], Any], output: Path) -> float:
    """How many seconds of CPU time the function takes in a child that nobody kills."""
    child = start(function, output)
    assert child.wait() == 0, child.text
    return child.cpu_seconds


def let_run(child: Child, seconds: float) -> None:
    """Return when a child has had so many seconds of CPU time, or has ended.

    By its CPU time, for on a busy machine the clock on the wall says nothing about how far it is.
    """
    used = Path(f"/proc/{child.pid}/schedstat")
    begun = time.monotonic()
    while not child.ended():
        if used.exists():
            so_far = int(used.read_text().split()[0]) / 1e9
        else:
            so_far = time.monotonic() - begun
        if so_far >= seconds:
            return
        time.sleep(max(0.0005, (seconds - so_far) / 2))


def kill_at_random(
    function: Callable[[], Any], output: Path, rng: random.Random, within: float
) -> Child:
    """Start the function, and send SIGKILL at up to `within` of its seconds; it may end before."""
    child = start(function, output)
    let_run(child, rng.uniform(0, within))
    child.signal(signal.SIGKILL)
    child.wait()
    return child


def tensors_digest(path: Path) -> str:
    """SHA-256 over a checkpoint's tensors, progress and hook state; raises if it is damaged."""
    tensors, metadata = checkpoint.load(path)
    rest = {key: metadata[key] for key in ("progress", "hooks", "data")}
    digest = hashlib.sha256(json.dumps(rest, sort_keys=True).encode())
    for name in sorted(tensors):
        value = tensors[name].contiguous().reshape(-1)
        digest.update(f"{name} {value.dtype} {tuple(tensors[name].shape)}".encode())
        digest.update(value.view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def fingerprint(folder: Path) -> dict[str, Any]:
    """What must be equal in a run that was interrupted and in one that was not."""
    summary = json.loads((folder / "summary.json").read_text())
    images = sorted([*folder.glob("samples/*"), *folder.glob("plots/*")])
    return {
        "last": tensors_digest(folder / "checkpoints" / "last.safetensors"),
        "best": tensors_digest(folder / "checkpoints" / "best.safetensors"),
        "metrics": (folder / "metrics.jsonl").read_text(),
        "images": {
            str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
            for path in images
        },
        "summary": {
            key: summary[key] for key in ("status", "step", "best", "last", "test", "objective")
        },
    }


def assert_comes_to(
    expected: dict[str, Any], work: Callable[[], Any], folder: Path, output: Path
) -> None:
    """What goes on in a child ends as the run that was never disturbed."""
    child = start(work, output)
    assert child.wait() == 0, child.text
    assert_log_is_whole(folder)
    assert fingerprint(folder) == expected, child.text


@contextmanager
def in_place(path: Path) -> Iterator[Path]:
    """In place of `files.replacing`, for the controls: a file is opened under its own name."""
    yield path


def assert_log_is_whole(folder: Path) -> None:
    """metrics.jsonl parses line by line, and its steps strictly increase."""
    text = (folder / "metrics.jsonl").read_text()
    assert text.endswith("\n")
    steps = [json.loads(line)["step"] for line in text.splitlines()]
    assert steps == sorted(set(steps))


def damage(path: Path, rng: random.Random) -> None:
    """Flip one bit of a file, in place."""
    data = bytearray(path.read_bytes())
    position = rng.randrange(8, len(data))
    data[position] ^= 1 << rng.randrange(8)
    path.write_bytes(data)

"""The process that a person starts for several ranks: it starts them, and looks after them.

It imports no torch. Ranks are told what to run on their standard input, as JSON; rank 0 has the
terminal. Where one is killed, all begin again from the last checkpoint. (An agent of torchrun's
would kill a rank that takes half a minute to save, and would take one that was asked to stop for
one that has failed.)
"""

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import Any

from trainwright.command_line import command, override
from trainwright.cores import CHOSEN, num_cores
from trainwright.errors import TrainwrightError
from trainwright.stop_signals import taken_by
from trainwright.streams import say, tell, tell_now

RANK_LOST = 75  # exit code of a rank that misses another (`RankLostError`)
LOOKS = 0.05  # seconds between two looks at the ranks
PATIENCE = 10.0  # seconds that ranks have to end when one has ended
AT_ONCE = 2.0  # and after a second Ctrl-C, which one that hangs does not take
WHERE = getattr(signal, "SIGUSR2", None)  # asks a rank for the line where it stands
Asked = dict[str, Any]  # a config and what was typed, as JSON
Meeting = tuple[int, int, int, str, int, int | None]  # as `engine/ranks/group.py` has it


@dataclass
class _Rank:
    number: int
    process: "subprocess.Popen[bytes]"

    @property
    def code(self) -> int | None:
        return self.process.poll()


@dataclass
class Launch:
    """One run on so many ranks; `asked` is what `cli/ranks/rank.py` reads.

    `take` is given what rank 0 prints, which else has the terminal; `failure` what went wrong.
    """

    asked: Asked
    size: int
    max_restarts: int
    take: Callable[[str], object] | None = None
    folder: str = ""
    failure: str = ""
    kind: str = ""  # of error
    was_hurried: bool = False  # by a second Ctrl-C, for which rank 0 was too slow
    _heard: bytes = b""
    _ranks: list[_Rank] = field(default_factory=list)
    _received: int | None = None
    _until: float | None = None  # when all are ended, after a second Ctrl-C

    def run(self) -> int:
        """Run to the end. Returns the exit code; what went wrong has been said."""
        num_restarts = 0
        with tempfile.TemporaryDirectory(prefix="trainwright-") as notes, taken_by(self._forward):
            while True:
                self._start(Path(notes))
                how = ""
                try:
                    ended = self._wait()
                    self.was_hurried = self._until is not None and ended.code is None
                    how = self._how(ended, Path(notes))
                finally:
                    self._end_all()
                self.folder = _text(Path(notes) / "folder")
                if self.was_hurried:
                    return self._stopped_at_once()
                asked = self._received is not None
                if not how or (asked and ended.code != RANK_LOST):
                    self.kind = _text(Path(notes) / f"{ended.number}.kind")
                    self._fail(_text(Path(notes) / str(ended.number)))
                    return _code(ended.code)
                if asked or num_restarts == self.max_restarts:
                    return self._given_up(how, num_restarts)
                num_restarts += 1
                note = f"{how}: restart {num_restarts} of {self.max_restarts}"
                (self.take or say)(note)
                self.asked = _again(self.asked, self.folder, note)

    def _start(self, notes: Path) -> None:
        """Start all ranks, which meet at a socket of ours that rank 0 takes over."""
        listener = socket.create_server(("127.0.0.1", 0))
        own, heard = num_cores() // self.size, self.take is not None
        self._ranks = [
            _Rank(number, _started(number, self.size, listener, notes, self.asked, own, heard))
            for number in range(self.size)
        ]
        listener.close()

    def _look_on(self) -> None:
        """Wait a moment, and pass on what rank 0 has said meanwhile."""
        time.sleep(LOOKS)
        if self.take is not None and (pipe := self._ranks[0].process.stdout) is not None:
            *lines, self._heard = (self._heard + (pipe.read() or b"")).split(b"\n")
            for line in lines:
                self.take(line.decode(errors="replace"))

    def _wait(self) -> _Rank:
        """The rank whose end ends the run: rank 0, or one that was killed or has failed."""
        missed_since: float | None = None
        while True:
            ended = [rank for rank in self._ranks if rank.code not in (None, 0)]
            for rank in ended:
                if rank.code != RANK_LOST:
                    return rank
            if self._ranks[0].code == 0:
                return self._ranks[0]
            if ended:  # they miss one that must have ended too, or hangs
                missed_since = missed_since or time.monotonic()
                if time.monotonic() - missed_since > PATIENCE:
                    return ended[0]
            if self._until is not None and time.monotonic() > self._until:
                return self._ranks[0]
            self._look_on()

    def _how(self, ended: _Rank, notes: Path) -> str:
        """Why the ranks have to be started again; "": they need not."""
        killed = [rank for rank in (ended, *self._ranks) if (rank.code or 0) < 0]
        if killed:
            return f"rank {killed[0].number} was killed ({_name(killed[0].code)})"
        hanging = [rank for rank in self._ranks if rank.code is None]
        if ended.code != RANK_LOST or not hanging:
            return ""
        where = _where(hanging[0], notes)
        hanging[0].process.kill()
        return f"rank {hanging[0].number} hangs, {where} (trainer.rank_timeout)"

    def _end_all(self) -> None:
        """Wait a moment for those that end by themselves, and end the others."""
        until = self._until or time.monotonic() + PATIENCE
        while self._ranks[0].code is None and time.monotonic() < until:
            self._look_on()  # it may have something to write
        for rank in self._ranks:
            rank.process.kill()
            rank.process.wait()
        self._look_on()
        if (pipe := self._ranks[0].process.stdout) is not None:
            pipe.close()

    def _forward(self, number: int, frame: FrameType | None) -> None:
        """Rank 0 knows what to do, and tells the others; a second Ctrl-C does not wait for it."""
        if self._received is not None and number == signal.SIGINT:
            self._until = time.monotonic() + AT_ONCE
        self._received = number
        if self._ranks:
            with contextlib.suppress(ProcessLookupError):
                self._ranks[0].process.send_signal(number)
        else:
            tell_now("stopped before anything was begun\n")
            raise KeyboardInterrupt

    @property
    def _go_on(self) -> str:
        return command("train", override("trainer.resume", self.folder))

    def _fail(self, text: str) -> None:
        """Say what went wrong, or leave that to who asked for the lines."""
        self.failure = text
        if self.take is None:
            print(text, file=sys.stderr, end="")

    def _stopped_at_once(self) -> int:
        """Say what is left of a run whose rank 0 could not say it any more."""
        go_on = f"; go on: {self._go_on}" if self.folder else ""
        self._fail(f"stopped at once{go_on}\n")
        tell("failure", error="stopped at once", exit_code=128 + signal.SIGINT)
        return 128 + signal.SIGINT

    def _given_up(self, how: str, num_restarts: int) -> int:
        what = f"{how}, after {num_restarts} restarts (trainer.max_restarts)"
        why = "  most often a process that is killed so has run out of memory\n"
        self._fail(
            f"error: {what}\n{why if 'SIGKILL' in how else ''}"
            f"  go on: {self._go_on if self.folder else 'start it anew'}\n"
        )
        tell("failure", error=what, exit_code=128 + signal.SIGKILL)
        return 128 + signal.SIGKILL


@contextlib.contextmanager
def beside(size: int) -> Iterator[Meeting]:
    """Where this process is rank 0 of a run; the other ranks are started, and end with this.

    Where one of them has failed, its own message is raised.
    """
    listener = socket.create_server(("127.0.0.1", 0))
    port = listener.getsockname()[1]
    with tempfile.TemporaryDirectory(prefix="trainwright-") as folder:
        notes = Path(folder)
        others = [
            _started(number, size, listener, notes, {"overrides": []}, 1)
            for number in range(1, size)
        ]
        try:
            yield 0, size, 0, "127.0.0.1", port, listener.detach()
        except TrainwrightError as error:
            if error.exit_code != RANK_LOST:
                raise
            for process in others:
                with contextlib.suppress(subprocess.TimeoutExpired):
                    process.wait(PATIENCE)
            said = [_text(notes / str(number)) for number in range(1, size)]
            message = next((text.removeprefix("error: ") for text in said if text), str(error))
            raise TrainwrightError(message.strip()) from error
        finally:
            for process in others:
                process.kill()
                process.wait()


def _started(
    number: int,
    size: int,
    listener: socket.socket,
    notes: Path,
    asked: Asked,
    threads: int,
    is_heard: bool = False,
) -> "subprocess.Popen[bytes]":
    """One rank, told what to run; rank 0 has the socket and a terminal or, `is_heard`, a pipe."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    if not any(os.environ.get(name) for name in CHOSEN):
        environment["OMP_NUM_THREADS"] = str(max(1, threads))
    own = listener.fileno() if number == 0 else None
    shown = subprocess.PIPE if is_heard else None
    process = subprocess.Popen(  # of a module of our own
        [sys.executable, "-P", "-m", "trainwright.cli.ranks.rank"],
        stdin=subprocess.PIPE,
        stdout=shown if number == 0 else subprocess.DEVNULL,
        stderr=shown and subprocess.STDOUT if number == 0 else subprocess.DEVNULL,
        env=environment,
        pass_fds=() if own is None else (own,),
        # Ctrl-C comes to the process that a person started alone, which passes it on.
        start_new_session="config" in asked,
    )
    meeting: Meeting = (number, size, number, "127.0.0.1", listener.getsockname()[1], own)
    told = {**asked, "meeting": meeting, "notes": str(notes), "is_heard": is_heard}
    if process.stdout is not None:
        os.set_blocking(process.stdout.fileno(), False)
    assert process.stdin is not None
    with contextlib.suppress(BrokenPipeError), process.stdin as pipe:
        pipe.write(json.dumps(told).encode())
    return process


def _where(rank: _Rank, notes: Path) -> str:
    """Where a rank stands that hangs: the line of Python, if it still says so."""
    said = notes / f"{rank.number}.stands"
    if WHERE is not None:
        rank.process.send_signal(WHERE)
        until = time.monotonic() + 1
        while "File" not in _text(said) and time.monotonic() < until:
            time.sleep(LOOKS)
    lines = [line.strip() for line in _text(said).splitlines() if "File" in line]
    return f"at {lines[0].removeprefix('File ')}" if lines else "and does not say where"


def _code(code: int | None) -> int:
    assert code is not None
    return 128 - code if code < 0 else code


def _name(code: int | None) -> str:
    assert code is not None
    with contextlib.suppress(ValueError):
        return signal.Signals(-code).name
    return f"signal {-code}"


def _again(asked: Asked, folder: str, note: str) -> Asked:
    """What to run after a restart: the run goes on, if it has begun."""
    if not folder or not any(Path(folder, "checkpoints").glob("*.safetensors")):
        return {**asked, "note": note}
    typed = override("trainer.resume", folder)
    others = [o for o in asked["overrides"] if asked["resume"] and "trainer.resume=" not in o]
    config = {**asked["config"], "trainer": {**asked["config"]["trainer"], "resume": folder}}
    return {**asked, "config": config, "overrides": [typed, *others], "resume": True, "note": note}


def _text(path: Path) -> str:
    with contextlib.suppress(OSError):
        return path.read_text()
    return ""

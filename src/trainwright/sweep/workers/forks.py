"""Processes that are forked from this one: each performs a task, and a spare one waits for its own.

Both ends of a process's life are kept out of the way. To fork and to go takes the system tens of
milliseconds each, since all that this process has in memory is shared page by page. So the next
one is forked while the others work, and a task given to it is a write to a pipe; and a process
whose task is done says so before it goes.
"""

import contextlib
import gc
import json
import os
import signal
import struct
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from trainwright.own_process import end_with_parent

TOLD = struct.Struct("ii")  # a process and its exit code; written whole, since pipes do so

Message = Mapping[str, Any]
Perform = Callable[[Message], int]  # returns the exit code


@dataclass(frozen=True)
class Spare:
    """A process without a task, and where to write one to it. It goes when that is closed."""

    pid: int
    pipe: int

    def give(self, message: Message) -> bool:
        """Give it a task. False: it is dead."""
        try:
            with os.fdopen(self.pipe, "wb") as pipe:
                pipe.write(json.dumps(message).encode())
        except BrokenPipeError:
            return False
        return True


class Forks:
    """Starts tasks, which are known by a number `key`, and hears how they end."""

    def __init__(self) -> None:
        self._keys: dict[int, int] = {}  # the task of each process that has not said how it ended
        self._leaving: set[int] = set()  # processes that have said it, and are about to go
        self._spare: Spare | None = None
        self._told, self._tell = _pipe()
        self._wake, self._woken = _pipe()
        signal.signal(signal.SIGCHLD, lambda number, frame: None)
        signal.set_wakeup_fd(self._woken, warn_on_full_buffer=False)

    @property
    def descriptors(self) -> tuple[int, int]:
        """What becomes readable when there may be `endings`."""
        return self._told, self._wake

    def __len__(self) -> int:
        """How many processes are at a task."""
        return len(self._keys) + len(self._leaving)

    def start(self, key: int, message: Message, perform: Perform) -> int:
        """Perform a task in a new process, which is returned."""
        pid = self._fork(lambda: perform(message))
        self._keys[pid] = key
        return pid

    def start_by_spare(self, key: int, message: Message) -> int | None:
        """Give a task to the spare process, if there is one that lives."""
        spare, self._spare = self._spare, None
        if spare is None or not spare.give(message):
            return None
        self._keys[spare.pid] = key
        return spare.pid

    def prepare_spare(self, prepare: Callable[[], None], perform: Perform) -> None:
        """Fork a process that prepares for any task, and waits for one."""
        task, pipe = os.pipe()

        def wait() -> int:
            os.close(pipe)
            prepare()
            with os.fdopen(task, "rb") as file:
                text = file.read()
            return perform(json.loads(text)) if text else 0

        self._spare = Spare(self._fork(wait), pipe)
        os.close(task)

    def give_up_spare(self) -> None:
        """Let the spare process go."""
        if self._spare is not None:
            os.close(self._spare.pipe)
            self._spare = None

    def endings(self) -> list[tuple[int, int]]:
        """The tasks that have ended since this was asked, each with its exit code."""
        found = []
        for pid, code in TOLD.iter_unpack(_drained(self._told)):
            if pid in self._keys:
                self._leaving.add(pid)
                found.append((self._keys.pop(pid), code))
        _drained(self._wake)
        while (dead := _dead_child()) is not None:
            pid, code = dead
            kill_group(pid, signal.SIGKILL)  # whatever it has started and left behind
            self._leaving.discard(pid)
            if pid in self._keys:
                found.append((self._keys.pop(pid), code))
        return found

    def signal(self, key: int, number: int) -> None:
        """Send a signal to a task's process and what it has started, if it is still at work."""
        for pid in [pid for pid, of in self._keys.items() if of == key]:
            kill_group(pid, number)

    def signal_all(self, number: int) -> None:
        """Send a signal to every process that has a task."""
        for pid in (*self._keys, *self._leaving):
            kill_group(pid, number)

    def _fork(self, do: Callable[[], int]) -> int:
        """Do something in a new process, which exits with the code that comes back."""
        gc.freeze()  # the collector's marks would copy the pages that processes share
        pid = os.fork()
        if pid != 0:
            return pid
        code = 1
        try:
            code = _life(do)
            if not _holds_gpu():
                os.write(self._tell, TOLD.pack(os.getpid(), code))
        finally:
            os._exit(code)  # whatever happens: it must never go on as its parent


def _life(do: Callable[[], int]) -> int:
    """What a new process does. Returns its exit code."""
    code = 1
    try:
        os.setsid()  # Ctrl-C in the terminal is for the sweep; and a job dies with its children
        end_with_parent(signal.SIGTERM)  # the job saves and stops
        signal.set_wakeup_fd(-1)
        for number in (signal.SIGCHLD, signal.SIGTERM):
            signal.signal(number, signal.SIG_DFL)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        code = do()
    except BaseException:
        import traceback

        traceback.print_exc()
    finally:
        for stream in (sys.stdout, sys.stderr):
            with contextlib.suppress(OSError):  # the disk that takes its log is full
                stream.flush()
    return code


def kill_group(pid: int, number: int) -> None:
    """Send a signal to a process and to what it has started, if anything of it lives."""
    try:
        os.killpg(pid, number)
    except ProcessLookupError:
        return
    except PermissionError:  # macOS says so of a group of which only zombies are left
        return


def _pipe() -> tuple[int, int]:
    """A pipe of which neither end ever waits."""
    ends = os.pipe()
    for descriptor in ends:
        os.set_blocking(descriptor, False)
    return ends


def _drained(descriptor: int) -> bytes:
    """What a pipe holds: at most 64 KB, on Linux."""
    try:
        return os.read(descriptor, 1 << 20)
    except BlockingIOError:
        return b""


def _dead_child() -> tuple[int, int] | None:
    """A child that has gone, and its exit code (negative: the signal); None if none has."""
    try:
        pid, status = os.waitpid(-1, os.WNOHANG)
    except ChildProcessError:
        return None
    return None if pid == 0 else (pid, os.waitstatus_to_exitcode(status))


def _holds_gpu() -> bool:
    """Whether this process has memory on a GPU: it is only free when the process has gone."""
    torch = sys.modules.get("torch")
    return torch is not None and torch.cuda.is_initialized()

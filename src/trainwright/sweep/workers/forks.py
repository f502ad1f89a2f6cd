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
from typing import Any

from trainwright.own_process import end_with_parent

TOLD = struct.Struct("ii")  # a process and its exit code; written whole, since pipes do so

Message = Mapping[str, Any]


class Forks:
    """Starts tasks, which are known by a number `key`, and hears how they end."""

    def __init__(self, perform: Callable[[Message], int]) -> None:
        self._perform = perform  # in the new process, whose exit code it returns
        self._keys: dict[int, int] = {}  # the task of each process that has not said how it ended
        self._leaving: set[int] = set()  # processes that have said it, and are about to go
        self._spare: tuple[int, int] | None = None  # its process, and the pipe to give it a task
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

    def start(self, key: int, message: Message) -> int:
        """Give a task to the spare process, or to a new one. Returns which it is."""
        while True:
            pid, pipe = self._spare or self._waiting()
            self._spare = None
            try:
                with os.fdopen(pipe, "wb") as file:
                    file.write(json.dumps(message).encode())
            except BrokenPipeError:
                continue  # it was dead
            self._keys[pid] = key
            return pid

    def prepare_spare(self) -> None:
        """Fork the process for the next task, so that it waits for that."""
        self._spare = self._spare or self._waiting()

    def give_up_spare(self) -> None:
        """Let the spare process go."""
        if self._spare is not None:
            os.close(self._spare[1])
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

    def _waiting(self) -> tuple[int, int]:
        """Fork a process that waits for a task; it goes when its pipe is closed without one."""
        task, pipe = os.pipe()
        gc.freeze()  # the collector's marks would copy the pages that processes share
        pid = os.fork()
        if pid != 0:
            os.close(task)
            return pid, pipe
        code = 1
        try:
            os.close(pipe)
            code = self._life(task)
            if not _holds_gpu():
                os.write(self._tell, TOLD.pack(os.getpid(), code))
        finally:
            os._exit(code)  # whatever happens: it must never go on as its parent

    def _life(self, task: int) -> int:
        """What a new process does. Returns its exit code."""
        code = 1
        try:
            os.setsid()  # Ctrl-C in the terminal is for the sweep; a job dies with its children
            end_with_parent(signal.SIGTERM)  # the job saves and stops
            signal.set_wakeup_fd(-1)
            for number in (signal.SIGCHLD, signal.SIGTERM):
                signal.signal(number, signal.SIG_DFL)
            signal.signal(signal.SIGINT, signal.default_int_handler)
            with os.fdopen(task, "rb") as file:
                text = file.read()
            code = self._perform(json.loads(text)) if text else 0
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
    # macOS says that it is not permitted where only zombies are left.
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, number)


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

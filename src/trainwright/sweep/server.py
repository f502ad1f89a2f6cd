"""The process that jobs are forked from: it has imported torch and holds the data.

A fork costs milliseconds where a fresh Python with torch costs seconds, and shares the data's
memory. It is safe only while this process has a single thread: it computes nothing itself, reads
data with one thread, and never touches a GPU. Where threads have been started all the same (by a
library that a dataset uses), or `warm` is false, a job gets a fresh process instead.

While a job runs the next process is forked already, and waits for its task: forking takes tens of
milliseconds, and to start a job is then a write to a pipe.

It reads one JSON object a line from standard input, a task to start or a signal to send, and
writes what happens to standard output. When the input ends, for the sweep has died, it asks the
jobs to save and stop, gives them a minute, and goes.
"""

import ctypes
import gc
import json
import os
import selectors
import signal
import sys
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

NUM_DATASETS = 4  # held at once
SECONDS_TO_SAVE = 60  # for jobs when the sweep has died; then they are killed
PR_SET_PDEATHSIG = 1  # from linux/prctl.h

Message = Mapping[str, Any]


@dataclass(frozen=True)
class Spare:
    """A process without a task, and where to write one to it. It goes when that is closed."""

    pid: int
    pipe: int

    def start(self, message: Message) -> bool:
        """Give it a task. False: it is dead."""
        try:
            with os.fdopen(self.pipe, "wb") as pipe:
                pipe.write(json.dumps(message).encode())
        except BrokenPipeError:
            return False
        return True


class Server:
    """Starts tasks in processes of their own and says how these end."""

    def __init__(self, *, warm: bool) -> None:
        self._warm = warm
        self._can_draw = False
        self._data: dict[str, Any] = {}  # datasets by what describes them, or None: it failed
        self._keys: dict[int, int] = {}  # the task of each living process that has one
        self._spare: Spare | None = None
        # Standard output is ours alone: what a library prints goes to standard error.
        self._out = os.fdopen(os.dup(1), "w", buffering=1)
        os.dup2(2, 1)
        self._wake, self._woken = os.pipe()
        for descriptor in (self._wake, self._woken):
            os.set_blocking(descriptor, False)

    def serve(self) -> None:
        """Serve until the input ends and every job has."""
        signal.signal(signal.SIGCHLD, lambda number, frame: None)
        signal.set_wakeup_fd(self._woken, warn_on_full_buffer=False)
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, signal.SIG_IGN)  # the sweep decides, and says so
        if self._warm:
            _import_what_jobs_need()
        self._say(event="ready")
        selector = selectors.DefaultSelector()
        selector.register(0, selectors.EVENT_READ)
        selector.register(self._wake, selectors.EVENT_READ)
        unread, is_open = b"", True
        while is_open or self._keys:
            found = selector.select(None if is_open else SECONDS_TO_SAVE)
            if not found:
                self._signal_all(signal.SIGKILL)
            for key, _ in found:
                if key.fd == self._wake:
                    os.read(self._wake, 4096)
                    continue
                received = os.read(0, 1 << 20)
                if not received:
                    is_open = False
                    selector.unregister(0)
                    self._give_up_spare()
                    self._signal_all(signal.SIGTERM)
                *lines, unread = (unread + received).split(b"\n")
                for line in lines:
                    self._obey(json.loads(line))
            self._reap()

    def _obey(self, message: Message) -> None:
        if "signal" in message:
            pids = [pid for pid, key in self._keys.items() if key == message["key"]]
            for pid in pids:
                _kill_group(pid, message["signal"])
            return
        if self._warm:
            for node in message["data"]:
                self._load(node)
        spare, self._spare = self._spare, None
        is_warm = self._can_fork()
        if spare is not None and is_warm and spare.start(message):
            pid = spare.pid
        else:
            pid = self._fork(lambda: self._perform(message, is_warm=is_warm))
        self._keys[pid] = message["key"]
        self._say(event="started", key=message["key"], pid=pid)
        if self._warm and not self._can_draw:
            self._can_draw = True
            _import_what_draws()  # now, while that job computes, and not before
        if self._can_fork():
            self._prepare_spare()

    def _can_fork(self) -> bool:
        return self._warm and _num_threads() == 1

    def _prepare_spare(self) -> None:
        task, pipe = os.pipe()

        def wait() -> int:
            os.close(pipe)
            with os.fdopen(task, "rb") as file:
                text = file.read()
            return self._perform(json.loads(text), is_warm=True) if text else 0

        self._spare = Spare(self._fork(wait), pipe)
        os.close(task)

    def _give_up_spare(self) -> None:
        if self._spare is not None:
            os.close(self._spare.pipe)
            self._spare = None

    def _fork(self, do: Callable[[], int]) -> int:
        """Do something in a new process, which exits with the code that comes back."""
        gc.freeze()  # the collector's marks would copy the pages that processes share
        pid = os.fork()
        if pid != 0:
            return pid
        code = 1
        try:
            os.setsid()  # Ctrl-C in the terminal is for the sweep; and a job dies with its children
            _die_with_parent()
            signal.set_wakeup_fd(-1)
            for number in (signal.SIGCHLD, signal.SIGTERM):
                signal.signal(number, signal.SIG_DFL)
            signal.signal(signal.SIGINT, signal.default_int_handler)
            self._out.close()
            code = do()
        except BaseException:
            import traceback

            traceback.print_exc()
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(code)

    def _perform(self, message: Message, *, is_warm: bool) -> int:
        """Perform a task in this process. Returns the exit code."""
        os.environ.update(message["env"])
        _redirect(message["log"])
        if not is_warm:
            self._become_fresh(message["task"])
        from trainwright.sweep.child import perform

        return perform(message["task"], self._find)

    def _become_fresh(self, task: Message) -> None:
        """Replace this process by a fresh Python that performs the task."""
        with tempfile.TemporaryFile() as file:
            file.write(json.dumps(task).encode())
            file.seek(0)
            os.dup2(file.fileno(), 0)
            os.execv(sys.executable, [sys.executable, "-m", "trainwright.sweep.child"])  # noqa: S606

    def _load(self, node: Message) -> None:
        """Hold the dataset that a config's section `data` describes, if it can be had."""
        key = _data_key(node)
        if key in self._data:
            return
        from trainwright.sweep.child import load_data

        while len(self._data) >= NUM_DATASETS:
            del self._data[next(iter(self._data))]
        self._say(event="loading", data=key)
        self._give_up_spare()  # it would not have that
        # A job whose data cannot be had finds that out by itself, and says why.
        self._data[key] = load_data(node)

    def _find(self, node: Message) -> Any:
        return self._data.get(_data_key(node))

    def _reap(self) -> None:
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            _kill_group(pid, signal.SIGKILL)  # whatever it has started and left behind
            key = self._keys.pop(pid, None)
            if key is None:  # of a spare
                continue
            self._say(event="ended", key=key, code=os.waitstatus_to_exitcode(status))

    def _signal_all(self, number: int) -> None:
        for pid in self._keys:
            _kill_group(pid, number)

    def _say(self, **event: Any) -> None:
        try:
            self._out.write(json.dumps(event) + "\n")
        except (BrokenPipeError, ValueError):  # the sweep has died; the end of input says so too
            return


def _import_what_jobs_need() -> None:
    """What is imported or read at the first use, by every job anew."""
    import torch

    import trainwright.nn.mlp
    import trainwright.sweep.child  # noqa: F401

    torch.set_num_threads(1)


def _import_what_draws() -> None:
    """Matplotlib, and the fonts of plots (0.7 s)."""
    import matplotlib.ticker  # noqa: F401

    from trainwright.report.figures import new_figure, style

    figure = new_figure(1, 1)
    style(figure.add_subplot(), title="0123456789", xlabel="step")
    figure.canvas.draw()


def _data_key(node: Message) -> str:
    """What a dataset is held under: augmentation happens later, in the jobs."""
    return json.dumps({k: v for k, v in node.items() if k != "augment"}, sort_keys=True)


def _num_threads() -> int:
    """How many threads this process has. (Linux; warm jobs are for Linux alone.)"""
    return len(list(Path("/proc/self/task").iterdir()))


def _redirect(log: str | None) -> None:
    """Send what the task prints to its log, and give it no input."""
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    if log is not None:
        file = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
        os.dup2(file, 1)
        os.dup2(file, 2)


def _kill_group(pid: int, number: int) -> None:
    """Send a signal to a job and to what it has started, if anything of it lives."""
    try:
        os.killpg(pid, number)
    except ProcessLookupError:
        return
    except PermissionError:  # macOS says so of a group of which only zombies are left
        return


def _die_with_parent() -> None:
    """Let the system send SIGTERM when the server dies: the job saves and stops (Linux)."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)


if __name__ == "__main__":
    sys.path.append(str(Path.cwd()))
    Server(warm=sys.argv[1] == "warm").serve()
    os._exit(0)  # all has been said, and torch takes half a second to go

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

import contextlib
import json
import os
import selectors
import signal
import sys
import tempfile
from pathlib import Path
from typing import Any

from trainwright.progress import plain_lines
from trainwright.sweep.workers.forks import Forks, Message

NUM_DATASETS = 4  # held at once
SECONDS_TO_SAVE = 60  # for jobs when the sweep has died; then they are killed


class Server:
    """Starts tasks in processes of their own and says how these end."""

    def __init__(self, *, warm: bool) -> None:
        self._warm = warm
        self._can_draw = False
        self._data: dict[str, Any] = {}  # datasets by what describes them, or None: it failed
        self._forks = Forks()
        # Standard output is ours alone: what a library prints goes to standard error.
        self._out = os.dup(1)
        os.dup2(2, 1)

    def serve(self) -> None:
        """Serve until the input ends and every job has."""
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, signal.SIG_IGN)  # the sweep decides, and says so
        if self._warm:
            _import_what_jobs_need()
        selector = selectors.DefaultSelector()
        for descriptor in (0, *self._forks.descriptors):
            selector.register(descriptor, selectors.EVENT_READ)
        unread, is_open = b"", True
        while is_open or self._forks:
            found = [key.fd for key, _ in selector.select(None if is_open else SECONDS_TO_SAVE)]
            if not found:
                self._forks.signal_all(signal.SIGKILL)
            for key, code in self._forks.endings():
                self._say(event="ended", key=key, code=code)
            if 0 in found:
                received = os.read(0, 1 << 20)
                if not received:
                    is_open = False
                    selector.unregister(0)
                    self._forks.give_up_spare()
                    self._forks.signal_all(signal.SIGTERM)
                *lines, unread = (unread + received).split(b"\n")
                for line in lines:
                    self._obey(json.loads(line))

    def _obey(self, message: Message) -> None:
        key = message["key"]
        if "signal" in message:
            self._forks.signal(key, message["signal"])
            return
        if self._warm:
            for node in message["data"]:
                self._load(node)
        if self._can_stay():
            pid = self._forks.start_by_spare(key, message)
            pid = pid or self._forks.start(key, message, self._prepare_and_perform)
        else:
            pid = self._forks.start(key, message, self._become_fresh)
        self._say(event="started", key=key, pid=pid)
        if self._warm and not self._can_draw:
            self._can_draw = True
            from trainwright.report.plots.artist import warm_up

            warm_up()  # now, while that job computes, and not before
        if self._can_stay():
            self._forks.prepare_spare(_prepare, self._perform)

    def _can_stay(self) -> bool:
        """Whether what is forked from this process may perform its task there and then."""
        return self._warm and _num_threads() == 1

    def _prepare_and_perform(self, message: Message) -> int:
        _prepare()
        return self._perform(message)

    def _perform(self, message: Message) -> int:
        """Perform a task, in the process that was forked for it. Returns the exit code."""
        from trainwright.sweep.workers.child import perform

        self._settle(message)
        return perform(message["task"], lambda node: self._data.get(_data_key(node)))

    def _become_fresh(self, message: Message) -> int:
        """Replace the process that was forked by a fresh Python that performs the task."""
        self._settle(message)
        with tempfile.TemporaryFile() as file:
            file.write(json.dumps(message["task"]).encode())
            file.seek(0)
            os.dup2(file.fileno(), 0)
            command = [sys.executable, "-m", "trainwright.sweep.workers.child"]
            os.execv(sys.executable, command)  # noqa: S606

    def _settle(self, message: Message) -> None:
        """Take what the task may see, and give it no input and its log."""
        os.close(self._out)
        os.environ.update(message["env"])
        _redirect(message["log"])

    def _load(self, node: Message) -> None:
        """Hold the dataset that a config's section `data` describes, if it can be had."""
        key = _data_key(node)
        if key in self._data:
            return
        from trainwright.sweep.workers.held_data import load_data

        while len(self._data) >= NUM_DATASETS:
            del self._data[next(iter(self._data))]
        self._say(event="loading", data=key)
        self._forks.give_up_spare()  # it would not have that
        # A job whose data cannot be had finds that out by itself, and says why.
        self._data[key] = load_data(node)

    def _say(self, **event: Any) -> None:
        with contextlib.suppress(BrokenPipeError):  # the sweep has died, as the input's end says
            os.write(self._out, json.dumps(event).encode() + b"\n")


def _prepare() -> None:
    """What a process that was forked does before it performs a task, whichever."""
    from trainwright.sweep.workers.child import prepare

    prepare()


def _import_what_jobs_need() -> None:
    """What is imported or read at the first use, by every job anew."""
    import torch

    import trainwright.nn.mlp
    import trainwright.sweep.workers.child  # noqa: F401

    torch.set_num_threads(1)


def _data_key(node: Message) -> str:
    """What a dataset is held under: how its examples come happens later, in the jobs."""
    kept = {k: v for k, v in node.items() if k not in ("augment", "balance")}
    return json.dumps(kept, sort_keys=True)


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


if __name__ == "__main__":
    sys.path.append(str(Path.cwd()))
    plain_lines()  # the bar on the terminal is the sweep's
    Server(warm=sys.argv[1] == "warm").serve()
    os._exit(0)  # all has been said, and torch takes half a second to go

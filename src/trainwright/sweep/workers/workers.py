"""The sweep's side of the process that jobs are started from: start, signal, hear what happens."""

import contextlib
import json
import os
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from multiprocessing.connection import Pipe
from pathlib import Path
from typing import Any, Literal

ALONE = -1  # the number of a task that runs by itself
SECONDS_TO_CLOSE = 60  # for jobs that were asked to save and stop

Event = dict[str, Any]


def settled(isolation: Literal["auto", "warm", "process"]) -> bool:
    """Whether jobs are forked from a warm process: where that is safe, unless told otherwise."""
    return isolation == "warm" or (isolation == "auto" and sys.platform == "linux")


class Workers:
    """Starts tasks in processes of their own. `warm`: forked from one that holds torch and data.

    Tasks are known by a number, `key`. If the server dies, its jobs save and stop, and `events`
    says `died`; a new one is started by `restart`.
    """

    def __init__(self, *, warm: bool) -> None:
        self.warm = warm
        self._start()

    def _start(self) -> None:
        # Idle threads that spin, OpenMP's default, would take the cores from the other jobs.
        one_each = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
        environment = {**os.environ, **dict.fromkeys(one_each, "1"), "OMP_WAIT_POLICY": "passive"}
        theirs, self._tasks = Pipe(duplex=False)
        self._events, events = Pipe(duplex=False)
        kind = "warm" if self.warm else "fresh"
        self._process = subprocess.Popen(  # noqa: S603
            [sys.executable, "-m", "trainwright.sweep.workers.server", kind],
            stdin=theirs.fileno(),
            stdout=events.fileno(),
            env=environment,
            start_new_session=True,  # Ctrl-C is for the sweep alone
        )
        theirs.close()
        events.close()
        self._has_tasks = False

    def start(
        self,
        key: int,
        task: Mapping[str, Any],
        *,
        data: Sequence[Mapping[str, Any]],
        environment: Mapping[str, str] | None = None,
        log: Path | None = None,
    ) -> None:
        """Start a task; `data`: sections of configs whose datasets it will want."""
        self._has_tasks = True
        self._send(
            {
                "key": key,
                "task": task,
                "data": list(data),
                "env": dict(environment or {}),
                "log": None if log is None else str(log.absolute()),
            }
        )

    def perform(
        self,
        task: Mapping[str, Any],
        *,
        data: Sequence[Mapping[str, Any]] = (),
        log: Path | None = None,
        meanwhile: Callable[[], object] = lambda: None,
    ) -> int | None:
        """Start a task while no other runs, and wait for it; `meanwhile` is called every second.

        Returns its exit code; None: the server has died.
        """
        self.start(ALONE, task, data=data, log=log)
        while True:
            meanwhile()
            for event in self.events(1.0):
                if event["event"] == "died":
                    return None
                if event["event"] == "ended" and event["key"] == ALONE:
                    return int(event["code"])

    @property
    def is_warmed_up(self) -> bool:
        """Whether a task is sure to start without having to wait for imports."""
        return self.warm and self._has_tasks

    def signal(self, key: int, number: int) -> None:
        """Send a signal to a task's process and its children, if it is still there."""
        self._send({"signal": int(number), "key": key})

    def events(self, seconds: float) -> list[Event]:
        """What has happened; waits at most so long for the first."""
        found: list[Event] = []
        try:
            while self._events.poll(0 if found else seconds):
                found.append(json.loads(self._events.recv_bytes()))
        except (EOFError, OSError):
            found.append({"event": "died"})
        return found

    def restart(self, *, warm: bool) -> None:
        """Put another server in the place of one that died."""
        self.close()
        self.warm = warm
        self._start()

    def close(self) -> None:
        """Ask what still runs to save and stop, and wait for it."""
        if not self._has_tasks:  # it may be at its imports, which take seconds
            self._process.kill()
        self._tasks.close()
        try:
            self._process.wait(SECONDS_TO_CLOSE)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._events.close()

    def _send(self, message: Mapping[str, Any]) -> None:
        with contextlib.suppress(BrokenPipeError):  # it has died, as `events` is about to say
            self._tasks.send_bytes(json.dumps(message).encode())

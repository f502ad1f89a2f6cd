"""A logger in a thread of its own: training never waits for it, and does not fail with it."""

import logging
import queue
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from trainwright.hooks.loggers.logger import LoggedRun, Logger

log = logging.getLogger(__name__)

MAX_WAITING = 10_000  # calls; some 10 MB of numbers. What comes when all are taken is dropped
MAX_FAILURES = 10  # in a row, after which a logger is given up
PATIENCE = 30.0  # seconds without one call done, after which a run that has ended waits no more
MAX_WAIT = 10  # so many times that, in all


class Outlet:
    """Hands calls on to a logger, in order, from a thread that never keeps the process alive."""

    def __init__(self, logger: Logger, *, patience: float = PATIENCE) -> None:
        self._logger = logger
        self._patience = patience
        self._waiting: queue.Queue[Callable[[], None] | None] = queue.Queue(MAX_WAITING)
        self._num_done = 0
        self._num_dropped = 0
        self._num_failed = 0
        self._gave_up = False
        self._thread = threading.Thread(
            target=self._work, name=f"logger {logger.name}", daemon=True
        )

    def start(self, run: LoggedRun) -> None:
        """Begin: the logger opens the run while training is already going on."""
        self._put(lambda: self._open(run))
        self._thread.start()

    def scalars(self, step: int, values: Mapping[str, float]) -> None:
        """Send numbers when their turn comes."""
        self._put(lambda: self._logger.scalars(step, values))

    def image(self, step: int, name: str, path: Path) -> None:
        """Send a picture when its turn comes."""
        self._put(lambda: self._logger.image(step, name, path))

    def finish(self, summary: Mapping[str, Any]) -> None:
        """Send the rest, for as long as patience lasts, and say what could not be sent."""
        self._put(lambda: self._logger.finish(summary))
        self._put(None)
        for _ in range(MAX_WAIT):
            done = self._num_done
            self._thread.join(self._patience)
            if not self._thread.is_alive() or self._num_done == done:
                break
        name = self._logger.name
        if self._thread.is_alive():
            log.warning(
                "logger %s is too slow: not everything was sent; metrics.jsonl has it all", name
            )
        elif self._num_dropped or self._num_failed > 1:
            lost = self._num_dropped + self._num_failed
            log.warning("logger %s: %d calls were lost; metrics.jsonl has it all", name, lost)

    def _put(self, call: Callable[[], None] | None) -> None:
        if self._gave_up and call is not None:
            return
        try:
            self._waiting.put_nowait(call)
        except queue.Full:
            self._num_dropped += 1
            if call is None:  # the thread must still learn that this is the end
                self._gave_up = True

    def _open(self, run: LoggedRun) -> None:
        """A run that cannot be opened can't be logged at all."""
        try:
            self._logger.start(run)
        except Exception:
            self._gave_up = True
            raise

    def _work(self) -> None:
        in_a_row = 0
        while not self._gave_up:
            call = self._waiting.get()
            if call is None:
                return
            try:
                call()
                in_a_row = 0
                self._num_done += 1
            except Exception as error:
                in_a_row += 1
                self._gave_up = self._gave_up or in_a_row >= MAX_FAILURES
                self._failed(error)

    def _failed(self, error: Exception) -> None:
        """Say so the first time, and when it is given up; training goes on either way."""
        self._num_failed += 1
        reason = str(error).strip().splitlines() or [""]
        text = f"{type(error).__name__}: {reason[0][:200]}"
        if self._gave_up:
            log.warning(
                "logger %s is given up (%s); the run goes on without it", self._logger.name, text
            )
        elif self._num_failed == 1:
            log.warning("logger %s could not send (%s); the run goes on", self._logger.name, text)

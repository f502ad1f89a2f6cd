"""Ctrl-C and SIGTERM ask the run to stop after the step it is in; a second Ctrl-C stops it now.

An evaluation is not waited for: it is made when the run goes on. When training is over and saved,
either stops it now.
"""

import os
import signal
import threading
from types import FrameType, TracebackType
from typing import Any

from trainwright.engine.interruption import CutShort
from trainwright.engine.state import TrainState


class StopRequests:
    """While this context is open, a signal sets `state.stop_reason` instead of killing the run."""

    def __init__(self, state: TrainState) -> None:
        self.received: int | None = None
        self._state = state
        self._at_once = False
        self._before: dict[int, Any] = {}

    def __enter__(self) -> "StopRequests":
        # Python lets only the main thread set handlers; elsewhere the caller decides.
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM):
                self._before[number] = signal.signal(number, self._receive)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def leave_at_once(self) -> None:
        """From now on a signal raises KeyboardInterrupt: there is no step to finish."""
        self._at_once = True

    def _receive(self, number: int, frame: FrameType | None) -> None:
        if self._at_once or (self.received is not None and number == signal.SIGINT):
            self.received = number
            raise KeyboardInterrupt
        is_first, self.received = self.received is None, number
        if is_first and number == signal.SIGINT:
            # Not print(): the signal may have come in the middle of one.
            os.write(2, b"\nstopping after this step; Ctrl-C again to stop at once\n")
        self._state.stop_reason = signal.Signals(number).name
        if self._state.can_be_cut_short:
            self._state.can_be_cut_short = False  # once
            raise CutShort

"""Ctrl-C, SIGTERM, SIGHUP and SIGUSR1 ask a run to stop after its step; Ctrl-C again stops it now.

An evaluation is not waited for: it is made when the run goes on. When training is over and saved,
either stops it now.
"""

import contextlib
import signal
import threading
from types import FrameType
from typing import ClassVar

from trainwright.engine.interruption import CutShort
from trainwright.engine.state import TrainState
from trainwright.stop_signals import taken_by
from trainwright.streams import tell_now


class StopRequests:
    """While this context is open, a signal sets `state.stop_reason` instead of killing the run."""

    # Those that are open in this process, for one signal asks all of them: runs may share a step.
    _open: ClassVar[list["StopRequests"]] = []
    _handled: ClassVar[contextlib.ExitStack] = contextlib.ExitStack()

    def __init__(self, state: TrainState) -> None:
        self.received: int | None = None
        self._state = state
        self._at_once = False

    def __enter__(self) -> "StopRequests":
        if self._state.world.is_shared:
            self._state.world.on_signal = self._agree
        # Python lets only the main thread set handlers; elsewhere the caller decides.
        if threading.current_thread() is threading.main_thread():
            self._open.append(self)
            if len(self._open) == 1:
                self._handled.enter_context(taken_by(_receive))
        return self

    def __exit__(self, *error: object) -> None:
        if self in self._open:
            self._open.remove(self)
        if not self._open:
            self._handled.close()

    def _agree(self, number: int) -> None:
        """Some rank was asked to stop, and all know it with this step."""
        self.received = number
        self._state.stop_reason = signal.Signals(number).name
        if self._state.can_be_cut_short:
            self._state.can_be_cut_short = False
            raise CutShort

    def leave_at_once(self) -> None:
        """From now on a signal raises KeyboardInterrupt: there is no step to finish."""
        self._at_once = True

    def receive(self, number: int) -> type[BaseException] | None:
        """Take note of a signal; returns what to raise now, if anything."""
        if self._at_once or (self.received is not None and number == signal.SIGINT):
            self.received = number
            return KeyboardInterrupt
        self.received = number
        world = self._state.world
        if world.is_shared and not world.listening:
            world.asked = number  # all stop after the step that tells all
            return None
        self._state.stop_reason = signal.Signals(number).name
        if self._state.can_be_cut_short and not world.is_talking:
            self._state.can_be_cut_short = False  # once
            return CutShort
        return None


def _receive(number: int, frame: FrameType | None) -> None:
    requests = list(StopRequests._open)
    is_first = all(request.received is None for request in requests)
    raised = [error for request in requests if (error := request.receive(number)) is not None]
    if is_first and number == signal.SIGINT and KeyboardInterrupt not in raised:
        tell_now("\nstopping after this step; Ctrl-C again to stop at once\n")
    for error in sorted(raised, key=lambda kind: kind is CutShort):  # what is final, first
        raise error

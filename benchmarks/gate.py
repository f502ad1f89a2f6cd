"""Sides that train in turns: each computes for a few steps, reports how long, and waits.

A machine that is shared, or that heats up, can be twice as slow from one minute to the next. Two
processes measured one after the other then differ by more than what is to be measured. So all
sides of a comparison are started, warmed up and stopped between two steps; then they take turns of
half a second, over and over, and what is compared is neighbouring turns.
"""

import os
import time
from abc import ABC, abstractmethod

WARM_UP = 25  # steps that are not counted


class Gate(ABC):
    """A side calls `step` at the start of every training step."""

    @abstractmethod
    def step(self) -> None:
        """Let the step begin, perhaps after a wait."""


class OpenGate(Gate):
    """Lets every step through: a whole run is measured, from outside."""

    def step(self) -> None:
        """Nothing."""


class TurnGate(Gate):
    """Lets `turn` steps through, reports their seconds, and waits for the next turn.

    The first step of a turn finds cold caches and sleeping threads; it comes on top of `turn` and
    is not timed. `reports` and `turns` are file descriptors: a line with the seconds of a turn is
    written to the one (the line `ready` after the warm-up), a byte read from the other begins a
    turn, and its end ends this process.
    """

    def __init__(self, turn: int, reports: int, turns: int) -> None:
        self._turn = turn
        self._reports = reports
        self._turns = turns
        self._num_steps = -WARM_UP
        self._begun = 0.0

    def step(self) -> None:
        """Count a step; at the end of a turn report it and wait."""
        if self._num_steps == 1:
            self._begun = time.perf_counter()
        elif self._num_steps == 1 + self._turn:
            self._wait(f"{time.perf_counter() - self._begun}\n")
        elif self._num_steps == -1:
            self._wait("ready\n")
        self._num_steps += 1

    def _wait(self, report: str) -> None:
        os.write(self._reports, report.encode())
        if not os.read(self._turns, 1):
            os._exit(0)  # enough was measured; whatever this side would do at its end, it need not
        self._num_steps = 0

"""Notices that other programs have come to use the cores of a run, and says what would help."""

import logging
import time
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from trainwright.cores import threads_worth_having
from trainwright.engine.hook import Hook
from trainwright.engine.state import TrainState

log = logging.getLogger(__name__)

LOOKS = 5.0  # seconds between two looks
SLOWER = 2.0  # times as long as in the best five seconds


class Crowded(Hook):
    """Compares the time of a step with what it was, and where it is far longer, looks for why.

    With `lowers` a run goes on with fewer threads from its next save on: `wanted` says with how
    many. `changes` are for the summary, since bits may differ from there on.
    """

    is_rank_0s = True

    always_looks = False

    def __init__(self, step: int, *, lowers: bool) -> None:
        self.wanted: int | None = None
        self.changes: list[dict[str, Any]] = []
        self._lowers = lowers
        self._step = step
        self._since = time.perf_counter()
        self._best: float | None = None  # seconds of a step
        self._has_said = False

    def due(self, step: int, total: int) -> bool:
        """Every few seconds."""
        return time.perf_counter() >= self._since + LOOKS

    def __call__(self, state: TrainState, metrics: dict[str, Tensor]) -> None:
        """See how long steps take, and where that is far longer than it was, why."""
        now = time.perf_counter()
        pace = (now - self._since) / max(1, state.step - self._step)
        self._step, self._since = state.step, now
        self._best = pace if self._best is None else min(self._best, pace)
        threads = state.placement.threads
        place = state.placement
        if threads == 1 or self.wanted is not None or place.stacked or place.device.type != "cpu":
            return
        worth = threads_worth_having(threads)
        if pace < SLOWER * self._best or worth == threads:
            return
        self.wanted = worth if self._lowers else None
        if not self._has_said:
            self._has_said = True
            log.warning(self._message(pace / self._best, threads, worth))

    def _message(self, times: float, threads: int, worth: int) -> str:
        slow = f"steps take {times:.1f} times as long as they did: other programs use the cores"
        if self._lowers:
            return f"{slow}; from the next save on {worth} of {threads} threads"
        return (
            f"{slow}\n  trainer.threads={worth} would help; trainer.threads=auto does so by itself"
        )

    def lower(self, state: TrainState) -> None:
        """Go on with fewer threads, if that is wanted, now that the run is saved."""
        if self.wanted is None:
            return
        before, after = state.placement.threads, self.wanted
        torch.set_num_threads(after)
        state.placement = replace(state.placement, threads=after)
        self.changes.append({"step": state.step, "threads": after, "before": before})
        log.info("threads: %d instead of %d from step %d on", after, before, state.step)
        self.wanted, self._best = None, None

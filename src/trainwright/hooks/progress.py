"""How far training has come: a bar on a terminal, elsewhere a line after a long silence."""

import logging
import time
from functools import partial

from torch import Tensor

from trainwright.engine.hook import Hook
from trainwright.engine.state import TrainState
from trainwright.progress import REDRAWN, Activity
from trainwright.wording import format_number

log = logging.getLogger(__name__)

SHOWN = {"loss": "loss", "discriminator/loss": "D loss", "generator/loss": "G loss"}
READ = 5.0  # seconds between two looks at the metrics where there is no terminal
SMOOTHING = 0.7  # weight of the past in the rate that is shown


class Progress(Hook):
    """Steps done, time left, losses, examples a second, the last evaluation, and health."""

    is_rank_0s = True

    def __init__(self, *, batch_size: int, start: int, total: int, unit: str = "examples") -> None:
        self._batch_size = batch_size
        self._unit = unit
        self._activity = Activity("", total, "", done=start, say=partial(log.info, "step %s"))
        self._at = start
        # To read the metrics is to wait for the device: no more often than somebody can see them.
        self._pause = REDRAWN if self._activity.is_drawn else READ
        self._since = time.perf_counter()
        self._next = self._since + self._pause
        self._rate: float | None = None

    def due(self, step: int, total: int) -> bool:
        """Often enough for the eye, seldom enough for the loop."""
        return time.perf_counter() >= self._next

    def __call__(self, state: TrainState, metrics: dict[str, Tensor]) -> None:
        """Read the step's metrics, to be shown with how far it is."""
        now = time.perf_counter()
        rate = (state.step - self._at) * self._batch_size / max(now - self._since, 1e-9)
        past = rate if self._rate is None else self._rate
        self._rate = SMOOTHING * past + (1 - SMOOTHING) * rate
        self._at, self._since, self._next = state.step, now, now + self._pause
        parts = [f"{SHOWN[k]} {float(metrics[k]):.3f}" for k in SHOWN if k in metrics]
        parts.append(f"{self._rate:,.0f} {self._unit}/s")
        if state.last is not None:
            metric = state.task.objective.metric
            value = format_number(state.last.metrics[metric])
            parts.append(f"validation {metric.replace('_', ' ')} {value}")
            if state.last.step == state.step:  # of which a line was just printed
                self._activity.has_said()
        if state.health is not None:
            parts.append(str(state.health))
        self._activity.text = "  ".join(parts)
        self._activity.to(state.step)

    def close(self) -> None:
        """Remove the bar and leave the cursor where the next line belongs."""
        self._activity.close()

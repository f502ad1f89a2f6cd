"""A progress bar on a terminal, and nothing where there is none: evaluations print lines there."""

import sys
import time

from torch import Tensor
from tqdm import tqdm

from trainwright.engine.hook import Hook
from trainwright.engine.state import TrainState
from trainwright.wording import format_number

SHOWN = {"loss": "loss", "discriminator/loss": "D loss", "generator/loss": "G loss"}
SMOOTHING = 0.7  # weight of the past in the rate that is shown


class Progress(Hook):
    """Steps done, time left, losses, examples a second, the last evaluation, and health."""

    def __init__(self, *, batch_size: int, start: int, total: int, unit: str = "examples") -> None:
        self._batch_size = batch_size
        self._unit = unit
        # Some 500 looks a run; the bar itself decides which of them it draws.
        self._stride = max(1, total // 500)
        self._at = start
        self._since = time.perf_counter()
        self._rate: float | None = None
        self._bar = tqdm(
            total=total,
            initial=start,
            leave=False,
            disable=not sys.stderr.isatty(),
            dynamic_ncols=True,
            # What is least missed comes last: a narrow terminal cuts it off.
            bar_format="{percentage:3.0f}% {bar:12} {n_fmt}/{total_fmt}  {remaining} left  {desc}",
        )

    def due(self, step: int, total: int) -> bool:
        """Often enough for the eye, seldom enough for the loop."""
        return not self._bar.disable and (step % self._stride == 0 or step == total)

    def __call__(self, state: TrainState, metrics: dict[str, Tensor]) -> None:
        """Move the bar. Metrics are read at most ten times a second, when it is drawn anew."""
        now = time.perf_counter()
        if now - self._since > 0.1:
            rate = (state.step - self._at) * self._batch_size / (now - self._since)
            past = rate if self._rate is None else self._rate
            self._rate = SMOOTHING * past + (1 - SMOOTHING) * rate
            self._at, self._since = state.step, now
            parts = [f"{SHOWN[k]} {float(metrics[k]):.3f}" for k in SHOWN if k in metrics]
            parts.append(f"{self._rate:,.0f} {self._unit}/s")
            if state.last is not None:
                metric = state.task.objective.metric
                value = format_number(state.last.metrics[metric])
                parts.append(f"validation {metric.replace('_', ' ')} {value}")
            if state.health is not None:
                parts.append(str(state.health))
            self._bar.set_description_str("  ".join(parts), refresh=False)
        self._bar.update(state.step - self._bar.n)

    def close(self) -> None:
        """Remove the bar and leave the cursor where the next line belongs."""
        self._bar.close()

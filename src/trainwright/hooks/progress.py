"""A progress bar on a terminal, and nothing where there is none: evaluations print lines there."""

import sys
import time

from torch import Tensor
from tqdm import tqdm

from trainwright.engine.hook import Hook
from trainwright.engine.state import TrainState

SHOWN = ("loss", "accuracy", "discriminator/loss", "generator/loss")
SHORT = {"discriminator/loss": "D loss", "generator/loss": "G loss"}


class Progress(Hook):
    """Steps done, losses, examples a second and the time that is left."""

    def __init__(self, *, batch_size: int, start: int, total: int) -> None:
        self._batch_size = batch_size
        # Some 500 looks a run; the bar itself decides which of them it draws.
        self._stride = max(1, total // 500)
        self._at = start
        self._since = time.perf_counter()
        self._bar = tqdm(
            total=total,
            initial=start,
            unit="step",
            disable=not sys.stderr.isatty(),
            dynamic_ncols=True,
            bar_format="{percentage:3.0f}% {bar} {n_fmt}/{total_fmt} {postfix} {remaining} left",
        )

    def due(self, step: int, total: int) -> bool:
        """Often enough for the eye, seldom enough for the loop."""
        return not self._bar.disable and (step % self._stride == 0 or step == total)

    def __call__(self, state: TrainState, metrics: dict[str, Tensor]) -> None:
        """Move the bar. Metrics are read at most ten times a second, when it is drawn anew."""
        now = time.perf_counter()
        if now - self._since > 0.1:
            rate = (state.step - self._at) * self._batch_size / (now - self._since)
            self._at, self._since = state.step, now
            shown = [f"{SHORT.get(k, k)} {float(metrics[k]):.3f}" for k in SHOWN if k in metrics]
            self._bar.set_postfix_str("  ".join([*shown, f"{rate:,.0f}/s"]), refresh=False)
        self._bar.update(state.step - self._bar.n)

    def close(self) -> None:
        """Remove the bar and leave the cursor where the next line belongs."""
        self._bar.leave = False
        self._bar.close()

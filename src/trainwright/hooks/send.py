"""Send to loggers what the log and the samples of the run folder got in the same step."""

from collections.abc import Sequence

from torch import Tensor

from trainwright.engine.clock import Clock
from trainwright.engine.hook import Regular, due_every
from trainwright.engine.settings import TrainerSettings
from trainwright.engine.state import TrainState
from trainwright.hooks.loggers.outlet import Outlet
from trainwright.runs.folder import RunFolder


class Send(Regular):
    """Hands numbers and sample grids on to loggers. Comes after the hooks that make them."""

    is_rank_0s = True

    def __init__(
        self, outlets: Sequence[Outlet], folder: RunFolder, settings: TrainerSettings, clock: Clock
    ) -> None:
        every = (settings.log_every, settings.evaluate_every, settings.sample_every)
        super().__init__(*map(clock.steps, every))
        self._outlets = outlets
        self._folder = folder

    def due(self, step: int, total: int) -> bool:
        """When a line of metrics.jsonl is written, or a grid of samples."""
        return bool(self._outlets) and super().due(step, total)

    def __call__(self, state: TrainState, metrics: dict[str, Tensor]) -> None:
        """Queue this step's numbers, and its grid if there is one; nothing is waited for."""
        step, total = state.step, state.clock.total_steps
        if state.row.get("step") == step:
            numbers = {k: v for k, v in state.row.items() if isinstance(v, int | float)}
            values = {k: v for k, v in numbers.items() if k != "step"}
            for outlet in self._outlets:
                outlet.scalars(step, values)
        grid = self._folder.samples / f"{step:06d}.png"
        if due_every(self._every[-1], step, total) and grid.exists():
            for outlet in self._outlets:
                outlet.image(step, "samples", grid)

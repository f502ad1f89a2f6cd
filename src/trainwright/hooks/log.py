"""metrics.jsonl is written: one object a line, with strictly increasing steps."""

import json
import math
from pathlib import Path

from torch import Tensor

from trainwright.engine.hook import Regular
from trainwright.engine.state import TrainState
from trainwright.files import append_line
from trainwright.runs.metrics import Row
from trainwright.streams import tell


class Log(Regular):
    """Writes training metrics at its own cadence, and evaluations as they come.

    A row has `step`, `epoch`, `train/<metric>`, the mean over the steps since the row before, `lr`
    (or `lr/<player>`), and on steps with an evaluation `validation/<metric>`, `health` and
    `health/<sign>` for tasks with an opinion on it; of a private run the `epsilon` spent. It comes
    after the hooks that evaluate and diagnose.
    """

    is_rank_0s = True

    def __init__(self, path: Path, *, every: float, evaluate_every: float) -> None:
        super().__init__(every, evaluate_every)
        self._path = path

    def __call__(self, state: TrainState, metrics: dict[str, Tensor]) -> None:
        """Append one row, and keep it as `state.row` for who sends it elsewhere."""
        state.row = metrics_row(state)
        append_line(self._path, json.dumps(state.row))
        tell("metrics", **state.row)
        state.means.clear()
        state.noted = {}


def metrics_row(state: TrainState) -> Row:
    """What was measured since the row before, by name; None for what is not finite."""
    row: Row = {"step": state.step, "epoch": round(state.epoch, 4)}
    row |= {f"train/{name}": _number(value) for name, value in state.means.read().items()}
    several = len(state.optimizers) > 1
    for player, optimizer in state.optimizers.items():
        row[f"lr/{player}" if several else "lr"] = optimizer.learning_rate
    if state.last is not None and state.last.step == state.step:
        evaluated = state.last.metrics.items()
        row |= {f"validation/{name}": _number(value) for name, value in evaluated}
        row |= {} if state.health is None else {"health": str(state.health)}
        row |= {f"health/{name}": _number(value) for name, value in state.signs.items()}
    row |= {name: _number(value) for name, value in state.noted.items()}
    if state.privacy is not None:
        row["epsilon"] = _number(state.privacy.spent(state.step))
    return row


def _number(value: float) -> float | None:
    """A number with the digits that matter; None (null) for what JSON has no number for."""
    return float(f"{value:.7g}") if math.isfinite(value) else None

"""metrics.jsonl: one object a line, strictly increasing steps, no gap or repeat after a resume."""

import json
import math
from pathlib import Path
from typing import Any

from torch import Tensor

from trainwright.engine.hook import Hook, due_every
from trainwright.engine.state import TrainState
from trainwright.files import append_line, write_text

Row = dict[str, Any]


class Log(Hook):
    """Writes training metrics at its cadence, and evaluations as they come.

    A row has `step`, `epoch`, `train/<metric>`, the mean over the steps since the row before, `lr`
    (or `lr/<player>`), and on steps with an evaluation `validation/<metric>`, `health` and
    `health/<sign>` for tasks with an opinion on it. It comes after the hooks that evaluate and
    diagnose.
    """

    def __init__(self, path: Path, *, every: float, evaluate_every: float) -> None:
        self._path = path
        self._every = every
        self._evaluate_every = evaluate_every

    def due(self, step: int, total: int) -> bool:
        """At its own cadence, and with every evaluation."""
        return any(due_every(e, step, total) for e in (self._every, self._evaluate_every))

    def __call__(self, state: TrainState, metrics: dict[str, Tensor]) -> None:
        """Append one row, and keep it as `state.row` for who sends it elsewhere."""
        state.row = metrics_row(state)
        append_line(self._path, json.dumps(state.row))
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
    return row


def read_rows(path: Path) -> list[Row]:
    """The rows of a metrics.jsonl; lines that a kill has torn or that are damaged are left out."""
    return [row for line in _lines(path) if (row := _row(line)) is not None]


def rewind(path: Path, step: int) -> int:
    """Drop rows after `step`, and torn ones, so that a resumed run goes on without a repeat.

    Returns how many lines were damaged and are lost, but for the last, which a kill may have torn.
    """
    rows = [_row(line) for line in _lines(path)]
    kept = [row for row in rows if row is not None and row["step"] <= step]
    write_text(path, "".join(json.dumps(row) + "\n" for row in kept))
    return rows[:-1].count(None)


def _lines(path: Path) -> list[str]:
    return path.read_text(errors="replace").splitlines() if path.exists() else []


def _row(line: str) -> Row | None:
    """A row as `metrics_row` makes it, None for anything else: the file may come from anyone."""
    try:
        row = json.loads(line)
    except (ValueError, RecursionError):
        return None
    if not isinstance(row, dict) or type(row.get("step")) is not int:
        return None
    values = [value for name, value in row.items() if name != "health"]
    is_plain = all(v is None or type(v) in (int, float) for v in values)
    return row if is_plain and isinstance(row.get("health", ""), str) else None


def _number(value: float) -> float | None:
    """A number with the digits that matter; None (null) for what JSON has no number for."""
    return float(f"{value:.7g}") if math.isfinite(value) else None

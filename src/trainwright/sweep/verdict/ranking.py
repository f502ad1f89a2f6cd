"""What a job is worth: the values that its run has had of the metrics that are ranked."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from trainwright.runs.metrics import read_rows

PARAMETERS = "parameters"  # how many a model has: no metric of a run, but often weighed against one


@dataclass(frozen=True)
class Ranked:
    """A metric as metrics.jsonl has it, such as validation/accuracy, and which way is better."""

    metric: str
    higher_is_better: bool

    @property
    def label(self) -> str:
        """The metric as a person reads it."""
        return self.metric.removeprefix("validation/").replace("_", " ")

    @property
    def direction(self) -> str:
        """Which way is better, in words."""
        return f"{'higher' if self.higher_is_better else 'lower'} is better"

    def best(self, values: Sequence[float]) -> float | None:
        """The best of some values; None where there is no number among them."""
        numbers = [value for value in values if not math.isnan(value)]
        if not numbers:
            return None
        return max(numbers) if self.higher_is_better else min(numbers)

    def cost(self, value: float) -> float:
        """The value, turned so that less is better."""
        return -value if self.higher_is_better else value


Ranking = tuple[Ranked, ...]  # what is ranked; the first one decides the order
Values = tuple[float, ...]  # one of each


def objective(told: Mapping[str, Any]) -> Ranked:
    """What ranks the checkpoints of a run, as its state or its summary says."""
    return Ranked(f"validation/{told['objective']}", bool(told["higher_is_better"]))


def values_of(ranking: Ranking, state: Mapping[str, Any], folder: Path) -> Values | None:
    """What a job in this state, whose run is in `folder`, has come to; None: nothing yet.

    Of one metric its best value so far. Of several the values at one moment, when the first of them
    was best: no checkpoint has the best of each.
    """
    if len(ranking) == 1:
        values = [_best_of(ranking[0], state, folder)]
    else:
        rows = read_rows(folder)
        leader = next((ranked for ranked in ranking if ranked.metric != PARAMETERS), ranking[0])
        moment = _moment(leader, rows)
        values = [_value_at(ranked, moment, state, rows) for ranked in ranking]
    found = tuple(value for value in values if value is not None)
    return found if len(found) == len(ranking) else None


def logged(folder: Path) -> list[str]:
    """The metrics that the run in `folder` has logged, sorted."""
    return sorted({key for row in read_rows(folder) for key in row if "/" in key})


def _best_of(ranked: Ranked, state: Mapping[str, Any], folder: Path) -> float | None:
    if ranked.metric == PARAMETERS:
        return _num_parameters(state)
    best = state.get("best")
    if best is not None and ranked.metric == f"validation/{state['objective']}":
        return ranked.best([float(best["metrics"][state["objective"]])])
    rows = read_rows(folder)
    return ranked.best([float(row[ranked.metric]) for row in rows if _has(row, ranked.metric)])


def _moment(leader: Ranked, rows: Sequence[Mapping[str, Any]]) -> int:
    """The index of the line at which a metric was best, the last one if it never had a value."""
    values = {
        i: float(row[leader.metric]) for i, row in enumerate(rows) if _has(row, leader.metric)
    }
    best = leader.best(list(values.values()))
    return next((i for i, value in values.items() if value == best), len(rows) - 1)


def _value_at(
    ranked: Ranked, moment: int, state: Mapping[str, Any], rows: Sequence[Mapping[str, Any]]
) -> float | None:
    """The value that a metric had at a line: the last one known by then, else the next."""
    if ranked.metric == PARAMETERS:
        return _num_parameters(state)
    nearest = [*reversed(rows[: moment + 1]), *rows[moment + 1 :]]
    return next((float(row[ranked.metric]) for row in nearest if _has(row, ranked.metric)), None)


def _num_parameters(state: Mapping[str, Any]) -> float | None:
    players = state.get("parameters")
    return None if players is None else float(sum(players.values()))


def _has(row: Mapping[str, Any], metric: str) -> bool:
    value = row.get(metric)
    return value is not None and not math.isnan(value)

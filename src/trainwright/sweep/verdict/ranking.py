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
    best, players = state.get("best"), state.get("parameters")
    size = None if players is None else sum(players.values())
    rows: Sequence[Mapping[str, Any]] = [{}]
    if len(ranking) == 1 and best is not None and ranking[0].metric == objective(state).metric:
        rows = [{ranking[0].metric: best["metrics"][state["objective"]]}]
    else:
        rows = read_rows(folder) or rows

    def column(metric: str) -> list[float]:
        found = [size if metric == PARAMETERS else row.get(metric) for row in rows]
        return [math.nan if value is None else float(value) for value in found]

    columns = [column(ranked.metric) for ranked in ranking]
    leader = next((i for i, ranked in enumerate(ranking) if ranked.metric != PARAMETERS), 0)
    leading = ranking[leader].best(columns[leader])
    moment = len(rows) - 1 if leading is None else columns[leader].index(leading)
    # Where a metric has no value just then: the last one before, else the next.
    nearest = [*range(moment, -1, -1), *range(moment + 1, len(rows))]
    numbers = [[of[i] for i in nearest if not math.isnan(of[i])] for of in columns]
    return tuple(found[0] for found in numbers) if all(numbers) else None


def logged(folder: Path) -> list[str]:
    """The metrics that the run in `folder` has logged, sorted."""
    return sorted({key for row in read_rows(folder) for key in row if "/" in key})

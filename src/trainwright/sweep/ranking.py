"""What a job is worth: the best value that its run has had of the metric that is ranked."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from trainwright.sweep.lines import read_lines


@dataclass(frozen=True)
class Ranked:
    """A metric as metrics.jsonl has it, such as validation/accuracy, and which way is better."""

    metric: str
    higher_is_better: bool

    @property
    def label(self) -> str:
        """The metric as a person reads it."""
        return self.metric.removeprefix("validation/").replace("_", " ")

    def best(self, values: list[float]) -> float | None:
        """The best of some values; None where there is no number among them."""
        numbers = [value for value in values if not math.isnan(value)]
        if not numbers:
            return None
        return max(numbers) if self.higher_is_better else min(numbers)


def value_of(ranked: Ranked, state: Mapping[str, Any], folder: Path) -> float | None:
    """The best value so far of a job in this state whose run is in `folder`; None: no value."""
    best = state.get("best")
    if best is not None and ranked.metric == f"validation/{state['objective']}":
        return ranked.best([float(best["metrics"][state["objective"]])])
    rows = read_lines(folder / "metrics.jsonl")
    return ranked.best([float(row[ranked.metric]) for row in rows if _has(row, ranked.metric)])


def _has(row: Mapping[str, Any], metric: str) -> bool:
    return row.get(metric) is not None

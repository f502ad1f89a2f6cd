"""The lines of metrics.jsonl sorted into curves, and curves into panels. No drawing here."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import accumulate
from typing import Any

from trainwright.report.score_table import FIGURES

PHASES = ("train", "validation", "test")
NOT_CURVES = {"step", "epoch"}
# Metrics that are read together. All others have a panel of their own, after these.
FAMILIES = {
    "loss": "loss",
    "accuracy": "accuracy",
    "top5_accuracy": "top-5 accuracy",
    "precision": "macro averages",
    "recall": "macro averages",
    "f1": "macro averages",
    "real": "scores of real and fake",
    "fake": "scores of real and fake",
    "mse": "mean squared error",
    "mae": "mean absolute error",
    "r2": "R²",
    "sliced_wasserstein": "sliced Wasserstein distance",
    "frechet": "Fréchet distance",
    "grad_norm": "gradient norm",
    "separation": "separation of real and fake",
    "diversity": "diversity of samples",
    "class_share": "share of each class",
}
BY_CLASS = ("diversity", "class_share")  # metrics with a line for each class
MOST_CLASSES = 10  # that have a line of their own in a panel
MOST_PANELS, MOST_LINES = 40, 24  # that are drawn: a log may come from anyone


@dataclass(frozen=True)
class Series:
    """One curve. `owner`: the player of `discriminator/loss`, a class, a further split, a hook.

    It is empty where there is but one.
    """

    phase: str
    owner: str
    name: str
    steps: list[float] = field(default_factory=list)
    values: list[float] = field(default_factory=list)  # NaN where the number was not finite

    @property
    def kind(self) -> tuple[str, str]:
        """What is measured, of whom."""
        return self.owner, self.name

    @property
    def is_point(self) -> bool:
        """Whether there is but one number to draw, as for the test split."""
        return sum(not math.isnan(value) for value in self.values) == 1


def collect(rows: Iterable[Mapping[str, Any]]) -> list[Series]:
    """Turn parsed lines of metrics.jsonl into curves, in the order in which they first occur.

    Takes what is a number and leaves the rest: a line without a step, text, lists, None. Values
    that are not finite become NaN, and a curve without any finite value is dropped. A later line
    for a step and curve that already has one is kept too; steps are expected to increase.
    """
    found: dict[tuple[str, str, str], Series] = {}
    for row in rows:
        step: Any = row.get("step")
        if not _is_number(step):
            continue
        for column, value in row.items():
            if column in NOT_CURVES or not _is_number(value):
                continue
            phase, owner, name = _parts(column)
            series = found.setdefault((phase, owner, name), Series(phase, owner, name))
            series.steps.append(float(step))
            series.values.append(float(value) if math.isfinite(value) else math.nan)
    return [s for s in found.values() if not all(math.isnan(value) for value in s.values)]


def _parts(column: str) -> tuple[str, str, str]:
    """Phase, owner and name: `validation/generator/loss` is (validation, generator, loss).

    A learning rate has no phase, and is of training; signs of health are of the validation split.
    The owner comes last in lr/generator, and a class in health/diversity/3.
    """
    first, _, rest = column.partition("/")
    if first == "health":
        name, _, owner = rest.partition("/")
        return "validation", owner, name
    phase, key = (first, rest) if first in PHASES else ("train", column)
    owner, _, name = key.rpartition("/")
    return (phase, name, "lr") if owner == "lr" else (phase, owner, name)


def panels(curves: Sequence[Series]) -> dict[str, list[Series]]:
    """Group curves, learning rates left out, into titled panels in the order of reading."""
    groups: dict[str, list[Series]] = {title: [] for title in FAMILIES.values()}
    is_scored = any(curve.name == "frechet" for curve in curves)
    for curve in curves:
        # The other figures of a generator's score have a plot of their own.
        if curve.name != "lr" and not (is_scored and _is_of_a_score(curve.name)):
            title = FAMILIES.get(curve.name, curve.name.replace("_", " "))
            groups.setdefault(title, []).append(curve)
    shown = [(title, _some(group)) for title, group in groups.items() if group]
    return {title: group[:MOST_LINES] for title, group in shown[:MOST_PANELS]}


def _some(group: list[Series]) -> list[Series]:
    """Those of a panel, without the classes where they are many: then only what is of all."""
    by_class = [c for c in group if c.owner and c.name in BY_CLASS]
    rest = [curve for curve in group if curve not in by_class]
    return group if len(by_class) <= MOST_CLASSES or not rest else rest


def _is_of_a_score(name: str) -> bool:
    return name.endswith("_error") or (name in FIGURES and name != "frechet")


def kind_names(group: Sequence[Series]) -> dict[tuple[str, str], str]:
    """Name each kind of curve in a panel by what tells it apart: player, metric, or both.

    Beside further splits, what is of the split itself needs no name.
    """
    kinds = list(dict.fromkeys(curve.kind for curve in group))
    num_owners, num_names = len({owner for owner, _ in kinds}), len({name for _, name in kinds})
    readable = {name: "F1" if name == "f1" else name.replace("_", " ") for _, name in kinds}
    if num_names == 1 and num_owners > 1:
        return {(o, name): o or ("all" if name in BY_CLASS else "") for o, name in kinds}
    if num_owners == 1:
        return {(owner, name): readable[name] for owner, name in kinds}
    return {(owner, name): f"{owner} {readable[name]}".strip() for owner, name in kinds}


def smoothed(values: Sequence[float], span: float) -> list[float]:
    """Return the exponential moving average over about `span` points to both sides, NaN skipped.

    A one-sided average lags, and would show training behind the unsmoothed validation. So each
    point is the mean of all values, weighted by decay ** distance: the one-sided sums from the
    left and from the right, over their weights. At the ends it is the usual one-sided average.
    """
    decay = 1 - 2 / (span + 1)
    totals = _decayed_sums([0.0 if math.isnan(value) else value for value in values], decay)
    weights = _decayed_sums([0.0 if math.isnan(value) else 1.0 for value in values], decay)
    return [t / w if w > 0 else math.nan for t, w in zip(totals, weights, strict=True)]


def _decayed_sums(numbers: Sequence[float], decay: float) -> list[float]:
    """For each place the sum of all numbers, each times decay ** its distance from there."""

    def one_sided(numbers: Sequence[float]) -> list[float]:
        return list(accumulate(numbers, lambda total, number: decay * total + number))

    sides = zip(one_sided(numbers), one_sided(numbers[::-1])[::-1], numbers, strict=True)
    return [left + right - own for left, right, own in sides]  # its own is in both sides


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)

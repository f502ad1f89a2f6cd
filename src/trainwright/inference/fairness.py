"""Metrics group by group: how far apart they are, and whether a classifier treats all alike.

Gaps are the largest less the smallest over the groups, as fairlearn defines them.
"""

import math
from collections.abc import Mapping
from typing import Any, NamedTuple

from torch import Tensor

from trainwright.errors import ConfigError
from trainwright.inference.groups import Groups
from trainwright.inference.intervals import Interval, bootstrap, wilson
from trainwright.tasks.metrics.metric import Metric


class Extreme(NamedTuple):
    """The groups with the smallest and the largest number, and these."""

    low_group: str
    low: float
    high_group: str
    high: float

    @property
    def gap(self) -> float:
        """The demographic parity difference, where it is of shares that are selected."""
        return self.high - self.low


def by_group(
    metric: Metric, groups: Groups, *, seed: int, num_resamples: int, few: int = 30
) -> dict[str, Any]:
    """What was measured, in each group and between them, as plain JSON types.

    `groups`: of each `num_examples`, and `metrics` with their 95 % `interval`. `gaps`: of each
    metric the lowest and highest group, and the interval of the difference. `parity`: of each
    class, where there are classes, demographic parity and equalised odds. `small`: groups of fewer
    than `few` examples. Raises ConfigError for a metric that keeps nothing of single examples.
    """
    told: dict[str, Any] = {}
    for name, places in groups.items():
        values = metric.resampled(places)
        if not values:
            raise ConfigError(
                "group=...: this run's metrics keep nothing of single examples\n"
                "  classifiers, multilabel and regression runs can be measured by group"
            )
        intervals = _intervals(metric, places, values, seed=seed, num_resamples=num_resamples)
        told[name] = {
            "num_examples": len(places),
            "metrics": {
                key: {"value": value, "interval": intervals.get(key)}
                for key, value in values.items()
            },
        }
    found: dict[str, Any] = {
        "groups": told,
        "gaps": _gaps(told),
        "small": [name for name, places in groups.items() if len(places) < few],
    }
    by_class = {name: metric.by_class(places) for name, places in groups.items()}
    first = next(iter(by_class.values()))
    if first is not None:
        confusions = {name: c.confusion for name, c in by_class.items() if c is not None}
        found["parity"] = parity(first.names, confusions)
    return found


def _intervals(
    metric: Metric, places: Tensor, values: Mapping[str, float], *, seed: int, num_resamples: int
) -> dict[str, Interval]:
    num = len(places)
    found = bootstrap(
        lambda drawn: metric.resampled(places[drawn]), num, seed=seed, num_resamples=num_resamples
    )
    if metric.by_class() is not None:
        shares = [name for name in values if name == "accuracy" or name.endswith("_accuracy")]
        found |= {name: wilson(round(values[name] * num), num) for name in shares}
    return found


def _gaps(told: Mapping[str, Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
    """Of each metric how far the groups are apart, and the interval of that difference.

    The interval comes from those of the two groups: Newcombe 1998, "Interval estimation for the
    difference between independent proportions", method 10; Zou and Donner 2008 for others.
    """
    gaps: dict[str, dict[str, Any]] = {}
    for name in next(iter(told.values()))["metrics"]:
        values = {group: row["metrics"][name]["value"] for group, row in told.items()}
        extreme = _extreme(values)
        if extreme is None:
            continue
        ends = [
            told[g]["metrics"][name]["interval"] for g in (extreme.low_group, extreme.high_group)
        ]
        interval = None
        if all(end is not None for end in ends):
            (low, low_end), (high_end, high) = ends
            interval = [
                extreme.gap - math.hypot(extreme.high - high_end, low_end - extreme.low),
                extreme.gap + math.hypot(high - extreme.high, extreme.low - low),
            ]
        gaps[name] = {**extreme._asdict(), "gap": extreme.gap, "interval": interval}
    return gaps


def parity(names: tuple[str, ...], confusions: Mapping[str, Tensor]) -> dict[str, dict[str, Any]]:
    """Of each class, against all others: is it given to all groups alike?

    `confusions` (C, C) of each group, rows are the truth. `selected`: the share of a group that is
    taken for the class; its gap is the demographic parity difference, low / high the ratio.
    `true_positive`, `false_positive`: the rates; the larger gap of the two is the equalised odds
    difference (Hardt, Price and Srebro 2016, arXiv:1610.02413). Rates of no examples are left out.
    """
    found: dict[str, dict[str, Any]] = {}
    for number, name in enumerate(names):
        rates: dict[str, dict[str, float]] = {
            "selected": {}, "true_positive": {}, "false_positive": {},
        }  # fmt: skip
        for group, confusion in confusions.items():
            hits, all_ = float(confusion[number, number]), float(confusion.sum())
            taken, true = float(confusion[:, number].sum()), float(confusion[number].sum())
            rates["selected"][group] = _share(taken, all_)
            rates["true_positive"][group] = _share(hits, true)
            rates["false_positive"][group] = _share(taken - hits, all_ - true)
        extremes = {rate: _extreme(values) for rate, values in rates.items()}
        told: dict[str, Any] = {
            rate: None if e is None else {**e._asdict(), "gap": e.gap}
            for rate, e in extremes.items()
        }
        selected = extremes["selected"]
        odds = [e.gap for e in (extremes["true_positive"], extremes["false_positive"]) if e]
        found[name] = {
            **told,
            "demographic_parity_difference": None if selected is None else selected.gap,
            "demographic_parity_ratio": None
            if selected is None or not selected.high
            else selected.low / selected.high,
            "equalised_odds_difference": max(odds, default=None),
        }
    return found


def _share(some: float, all_: float) -> float:
    return some / all_ if all_ else math.nan


def _extreme(values: Mapping[str, float]) -> Extreme | None:
    """The groups with the smallest and the largest number; None unless two have one."""
    there = {group: value for group, value in values.items() if math.isfinite(value)}
    if len(there) < 2:
        return None
    low, high = min(there, key=there.__getitem__), max(there, key=there.__getitem__)
    return Extreme(low, there[low], high, there[high])

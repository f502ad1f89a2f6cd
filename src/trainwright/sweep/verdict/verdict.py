"""Which setting won, and whether that is more than luck.

Jobs that differ in nothing but the seed, or the fold of the data, are repetitions of one setting.
Settings are ranked by their mean; by several metrics, those that no other beats in all of them come
first (the Pareto front), and then the first metric decides. For each metric the best setting is
compared with each other one by the statistics of `significance.py`.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from statistics import fmean, stdev
from typing import Any

from trainwright.runs.summary import read_summary
from trainwright.sweep.job import Job, label
from trainwright.sweep.store import State, Store
from trainwright.sweep.verdict.ranking import Ranked, Ranking, Values, objective, values_of
from trainwright.sweep.verdict.significance import gap, holm, welch

REPEATED = ("seed", "data.fold")  # in which repetitions of one setting differ
LEVEL = 0.05  # of p-values: above it the seeds do not tell two settings apart
CLEAR = 3.0  # a gap in standard deviations from which on that is for want of seeds, not of a gap


@dataclass(frozen=True)
class Row:
    """A job with what has become of it."""

    job: Job
    state: State
    values: Values | None

    @property
    def status(self) -> str:
        """Planned, running, stopped, finished, pruned or failed."""
        return str(self.state["status"])

    def value(self, index: int = 0) -> float:
        """Its value of the metric with this index, of which there must be one."""
        assert self.values is not None
        return self.values[index]


@dataclass(eq=False)
class Setting:
    """All jobs that differ in the seed or the fold alone."""

    point: dict[str, str]  # without these
    rows: list[Row] = field(default_factory=list)

    @property
    def counted(self) -> list[Row]:
        """The jobs that have values, failed ones left out."""
        return [row for row in self.rows if row.values is not None and row.status != "failed"]

    def finished(self, index: int = 0) -> list[float]:
        """The values of those jobs that are done: the others may come to more yet."""
        return [row.value(index) for row in self.counted if row.status == "finished"]

    def values(self, index: int = 0) -> list[float]:
        """What its jobs have come to, of the metric with this index."""
        return [row.value(index) for row in self.counted]

    def mean(self, index: int = 0) -> float | None:
        """Their mean."""
        return fmean(self.values(index)) if self.counted else None

    def sd(self, index: int = 0) -> float | None:
        """Their sample standard deviation; None for fewer than two."""
        return stdev(self.values(index)) if len(self.counted) > 1 else None

    @property
    def seconds(self) -> float:
        """The time that its jobs took in all."""
        return sum(float(row.state.get("seconds", 0.0)) for row in self.rows)

    @property
    def label(self) -> str:
        """Its point in one line."""
        return label(self.point) or "no change"


@dataclass(frozen=True)
class Best:
    """The best setting by one metric, and the others that were compared with it.

    `compared` holds the corrected p-value of being as good, where of both several seeds are done.
    """

    index: int  # of the metric
    ranked: Ranked
    setting: Setting
    row: Row  # its best job
    compared: list[tuple[Setting, float]]

    @property
    def tied(self) -> list[Setting]:
        """The settings that are within seed noise of it."""
        return [s for s, p_value in self.compared if p_value >= LEVEL and self.gap(s) < CLEAR]

    @property
    def likely_worse(self) -> list[Setting]:
        """Those far behind it that no test can tell from it, for want of seeds."""
        return [s for s, p_value in self.compared if p_value >= LEVEL and self.gap(s) >= CLEAR]

    @property
    def fewest_seeds(self) -> int:
        """Of all settings that were compared."""
        settings = (self.setting, *(setting for setting, _ in self.compared))
        return min(len(setting.finished(self.index)) for setting in settings)

    def gap(self, other: Setting) -> float:
        """How far it is ahead of another that it was compared with, in standard deviations."""
        return gap(self.setting.finished(self.index), other.finished(self.index))


@dataclass(frozen=True)
class Verdict:
    """Settings from best to worst, those without a value last."""

    settings: list[Setting]
    ranking: Ranking
    keys: list[str]  # that differ
    front: set[Setting]  # that no other beats in every metric
    bests: list[Best]  # for each metric; empty while nothing has a value

    @property
    def repeated(self) -> str:
        """In what the jobs of one setting differ: seed or fold."""
        return "fold" if "data.fold" in self.keys else "seed"

    @property
    def rows(self) -> list[Row]:
        """Every job, from best setting to worst."""
        return [row for setting in self.settings for row in setting.rows]


def judge_sweep(store: Store) -> Verdict:
    """The verdict on what a sweep has come to so far. Raises ConfigError if it is no sweep."""
    plan = store.plan()
    lines = store.jobs()
    states = {line.id: store.state(line.id) for line in lines}
    ranking = _ranking(plan, states.values(), store)
    settings: dict[tuple[tuple[str, str], ...], Setting] = {}
    for line in lines:
        state = states[line.id]
        folder = store.run_folder(state) if "folder" in state else store.folder(line)
        point = {key: text for key, text in line.point.items() if key not in REPEATED}
        setting = settings.setdefault(tuple(sorted(point.items())), Setting(point))
        setting.rows.append(Row(line, state, values_of(ranking, state, folder)))
    front = pareto_front(list(settings.values()), ranking)
    first = ranking[0]

    def place(setting: Setting) -> tuple[bool, float]:
        mean = setting.mean()
        return setting not in front, math.inf if mean is None else first.cost(mean)

    ordered = sorted(settings.values(), key=place)
    bests = [_best(index, ranked, ordered) for index, ranked in enumerate(ranking) if front]
    return Verdict(
        ordered, ranking, _keys_that_differ([line.point for line in lines]), front, bests
    )


def pareto_front(settings: Sequence[Setting], ranking: Ranking) -> set[Setting]:
    """The settings of which no other is as good by every metric's mean and better by one."""
    costs = {
        setting: tuple(r.cost(fmean(setting.values(i))) for i, r in enumerate(ranking))
        for setting in settings
        if setting.counted
    }
    front: list[Values] = []
    for cost in sorted(set(costs.values())):  # what beats another comes before it
        if not any(all(a <= b for a, b in zip(one, cost, strict=True)) for one in front):
            front.append(cost)
    unbeaten = set(front)
    return {setting for setting, cost in costs.items() if cost in unbeaten}


def _best(index: int, ranked: Ranked, settings: Sequence[Setting]) -> Best:
    with_values = [setting for setting in settings if setting.counted]
    setting = min(with_values, key=lambda s: ranked.cost(fmean(s.values(index))))
    row = min(setting.counted, key=lambda r: ranked.cost(r.value(index)))
    others = [s for s in with_values if s is not setting]
    return Best(index, ranked, setting, row, compare(setting, others, index))


def compare(
    best: Setting, others: Iterable[Setting], index: int = 0
) -> list[tuple[Setting, float]]:
    """The others of which several seeds have finished, as of the best, with corrected p-values.

    What was pruned has stopped before it could be compared.
    """
    own = best.finished(index)
    if len(own) < 2:
        return []
    unpruned = [s for s in others if all(row.status != "pruned" for row in s.rows)]
    several = [setting for setting in unpruned if len(setting.finished(index)) > 1]
    p_values = [welch(own, setting.finished(index)) for setting in several]
    return list(zip(several, holm(p_values), strict=True))


def _ranking(plan: Mapping[str, Any], states: Iterable[State], store: Store) -> Ranking:
    """What is ranked: as planned, else the objective that the runs have."""
    if plan["ranked"] is not None:
        return tuple(Ranked(**ranked) for ranked in plan["ranked"])
    for state in states:
        told = state
        if "objective" not in state and "folder" in state:
            told = read_summary(store.run_folder(state))  # what a run says of itself on its way
        if "objective" in told:
            return (objective(told),)
    return (Ranked("validation/loss", higher_is_better=False),)  # nothing has begun yet


def _keys_that_differ(points: Sequence[Mapping[str, str]]) -> list[str]:
    keys = dict.fromkeys(key for point in points for key in point)
    return [key for key in keys if len({point.get(key) for point in points}) > 1]

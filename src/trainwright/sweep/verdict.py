"""Which setting won, and whether that is more than luck.

Jobs that differ in nothing but the seed are repetitions of one setting. Settings are ranked by
their mean. The winner is compared with each other setting by Welch's t-test (two-sided, unequal
variances; Welch 1947), and the p-values are corrected for their number by Holm's method (1979).
Settings from which the winner does not differ at the 5 % level are within seed noise of it.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from statistics import fmean, stdev

from trainwright.sweep.job import short
from trainwright.sweep.ranking import Ranked, value_of
from trainwright.sweep.store import JobLine, State, Store

LEVEL = 0.05


@dataclass(frozen=True)
class Row:
    """A job with what has become of it."""

    job: JobLine
    state: State
    value: float | None

    @property
    def status(self) -> str:
        """Planned, running, stopped, finished, pruned or failed."""
        return str(self.state["status"])


@dataclass
class Setting:
    """All jobs that differ in the seed alone."""

    point: dict[str, str]  # without the seed
    rows: list[Row] = field(default_factory=list)
    p_value: float | None = None  # of being as good as the winner, corrected; None: cannot be told

    @property
    def values(self) -> list[float]:
        """The values of those that have one, failed ones left out."""
        return [r.value for r in self.rows if r.value is not None and r.status != "failed"]

    @property
    def mean(self) -> float | None:
        """Their mean."""
        return fmean(self.values) if self.values else None

    @property
    def sd(self) -> float | None:
        """Their sample standard deviation; None for fewer than two."""
        return stdev(self.values) if len(self.values) > 1 else None

    @property
    def seconds(self) -> float:
        """The time that its jobs took in all."""
        return sum(float(row.state.get("seconds", 0.0)) for row in self.rows)

    @property
    def label(self) -> str:
        """Its point in one line."""
        return " ".join(f"{key}={short(text)}" for key, text in self.point.items()) or "all seeds"


@dataclass(frozen=True)
class Verdict:
    """Settings from best to worst, those without a value last."""

    settings: list[Setting]
    ranked: Ranked
    keys: list[str]  # that differ

    @property
    def winner(self) -> Setting | None:
        """The best setting, if any has a value."""
        first = self.settings[0] if self.settings else None
        return first if first is not None and first.values else None

    @property
    def tied(self) -> list[Setting]:
        """The settings from which the winner cannot be told, though seeds were compared."""
        return [s for s in self.settings[1:] if s.p_value is not None and s.p_value >= LEVEL]

    @property
    def rows(self) -> list[Row]:
        """Every job, from best setting to worst."""
        return [row for setting in self.settings for row in setting.rows]


def judge_sweep(store: Store) -> Verdict:
    """The verdict on what a sweep has come to so far. Raises ConfigError if it is no sweep."""
    plan = store.plan()
    lines = store.jobs()
    states = {line.id: store.state(line.id) for line in lines}
    ranked = _ranked(plan, states.values())
    settings: dict[tuple[tuple[str, str], ...], Setting] = {}
    for line in lines:
        state = states[line.id]
        folder = store.run_folder(state) if "folder" in state else store.folder(line)
        value = value_of(ranked, state, folder)
        point = {key: text for key, text in line.point.items() if key != "seed"}
        setting = settings.setdefault(tuple(sorted(point.items())), Setting(point))
        setting.rows.append(Row(line, state, value))
    sign = -1 if ranked.higher_is_better else 1
    ordered = sorted(settings.values(), key=lambda s: math.inf if s.mean is None else sign * s.mean)
    compare(ordered)
    return Verdict(ordered, ranked, _keys_that_differ([line.point for line in lines]))


def compare(settings: Sequence[Setting]) -> None:
    """Note for every setting but the first the corrected p-value against the first."""
    if not settings or len(settings[0].values) < 2:
        return
    others = [s for s in settings[1:] if len(s.values) > 1]
    p_values = [welch(settings[0].values, other.values) for other in others]
    for setting, p_value in zip(others, holm(p_values), strict=True):
        setting.p_value = p_value


def welch(one: Sequence[float], other: Sequence[float]) -> float:
    """The two-sided p-value of Welch's t-test on two samples of at least two values each.

    Two samples without any variance differ for certain (0), or not at all (1).
    """
    variances = stdev(one) ** 2 / len(one), stdev(other) ** 2 / len(other)
    difference = fmean(one) - fmean(other)
    if sum(variances) == 0:
        return 0.0 if difference else 1.0
    from scipy.special import stdtr

    t = abs(difference) / math.sqrt(sum(variances))
    sizes = len(one), len(other)
    freedom = sum(variances) ** 2 / sum(
        variance**2 / (size - 1) for variance, size in zip(variances, sizes, strict=True)
    )
    return float(2 * stdtr(freedom, -t))


def holm(p_values: Sequence[float]) -> list[float]:
    """Holm's step-down correction of some p-values, in their order."""
    order = sorted(range(len(p_values)), key=p_values.__getitem__)
    corrected, largest = [0.0] * len(p_values), 0.0
    for rank, index in enumerate(order):
        largest = max(largest, min(1.0, (len(p_values) - rank) * p_values[index]))
        corrected[index] = largest
    return corrected


def _ranked(plan: Mapping[str, object], states: Iterable[State]) -> Ranked:
    """What is ranked: as planned, else the objective that the runs have."""
    if plan["metric"] is not None:
        return Ranked(str(plan["metric"]), bool(plan["higher_is_better"]))
    for state in states:
        if "objective" in state:
            return Ranked(f"validation/{state['objective']}", bool(state["higher_is_better"]))
    return Ranked("validation/loss", higher_is_better=False)  # nothing has ended yet


def _keys_that_differ(points: Sequence[Mapping[str, str]]) -> list[str]:
    keys = dict.fromkeys(key for point in points for key in point)
    return [key for key in keys if len({point.get(key) for point in points}) > 1]

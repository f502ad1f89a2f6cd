"""Which runs of a sweep to stop early, and which of those to go on with after all.

Runs report a metric after each evaluation to one file, so that any number of processes can decide
by all that is known. Progress is counted in epochs: runs with other batch sizes can be compared.

- `median` (Golovin et al. 2017, Google Vizier): stop a run whose best value so far is worse than
  the median of what the others had by then.
- `halving`, asynchronous successive halving (Li et al. 2020, https://arxiv.org/abs/1810.05934):
  rungs at `after`, `after` * factor, ...; from each the best 1/factor go on. A run that was stopped
  goes on if later ones turn out to be so much worse that it belongs to the best after all.
- `hyperband` (Li et al. 2018): such ladders with lower and higher first rungs, each run on one.
"""

import json
import math
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path
from statistics import median
from typing import Literal

from filelock import FileLock

from trainwright.engine.clock import Clock
from trainwright.runs.stored import read_lines
from trainwright.sweep.settings import SweepSettings
from trainwright.sweep.store import Store
from trainwright.sweep.verdict.ranking import Ranking

NUM_TO_COMPARE = 4  # others that a median needs


@dataclass(frozen=True)
class Report:
    """The best value of a run up to `epoch` of `total` epochs."""

    epoch: float
    total: float
    first: float  # the epoch before which it may not be stopped
    value: float


Reports = dict[str, list[Report]]  # by job, in the order of their epochs


@dataclass(frozen=True)
class Pruning:
    """What a sweep prunes by, as plain values: it travels to the processes that run jobs."""

    kind: Literal["median", "halving", "hyperband"]
    metric: str  # as metrics.jsonl has it
    higher_is_better: bool
    after: int | str  # a duration
    factor: int
    path: str  # of the reports

    @classmethod
    def wanted(
        cls, settings: SweepSettings, ranking: Ranking | None, store: Store
    ) -> "Pruning | None":
        """What is wanted of a sweep with this ranking, if it prunes."""
        if settings.prune is None or ranking is None:
            return None
        after, factor, path = settings.prune_after, settings.prune_factor, store.reports.absolute()
        metric, higher = ranking[0].metric, ranking[0].higher_is_better
        return cls(settings.prune, metric, higher, after, factor, str(path))

    def reports(self) -> Reports:
        """What all jobs have reported of the metric. One that was interrupted reports some again.

        (A sweep that was typed again may prune by another metric than before.)
        """
        found: dict[str, dict[float, Report]] = {}
        for line in read_lines(Path(self.path)):
            if line.get("metric") == self.metric:
                report = Report(line["epoch"], line["total"], line["first"], line["value"])
                found.setdefault(line["id"], {})[report.epoch] = report
        return {job_id: [of[epoch] for epoch in sorted(of)] for job_id, of in found.items()}

    def reason_to_stop(self, job_id: str, reports: Reports) -> str | None:
        """Why a job should stop after its last report; None: go on."""
        own = reports[job_id]
        if self.kind == "median":
            return self._below_median(job_id, reports)
        last = own[-1]
        before = own[-2].epoch if len(own) > 1 else 0.0
        rung = next((r for r in self.rungs(job_id, last) if before < r <= last.epoch), None)
        if rung is None or self._belongs_on(job_id, rung, reports):
            return None
        return f"not among the best 1/{self.factor} at epoch {rung:.3g}"

    def promoted(self, job_ids: Iterable[str], reports: Reports) -> list[str]:
        """Of jobs that were stopped, those that belong to the best of their rung by now."""
        found = []
        for job_id in job_ids:
            if self.kind == "median" or job_id not in reports:
                continue
            last = reports[job_id][-1]
            passed = [rung for rung in self.rungs(job_id, last) if rung <= last.epoch]
            if passed and self._belongs_on(job_id, passed[-1], reports):
                found.append(job_id)
        return found

    def rungs(self, job_id: str, report: Report) -> list[float]:
        """The epochs at which a job is compared: never its last one."""
        first = report.first * self.factor ** self._bracket(job_id, report)
        rungs = []
        while first < report.total * (1 - 1e-9):
            rungs.append(first)
            first *= self.factor
        return rungs

    def _bracket(self, job_id: str, report: Report) -> int:
        """Which ladder a job is on: 0 has the lowest first rung, and most of the jobs."""
        if self.kind != "hyperband":
            return 0
        num_brackets = max(1, math.floor(math.log(report.total / report.first, self.factor) + 1e-9))
        weights = [self.factor ** (num_brackets - 1 - b) for b in range(num_brackets)]
        place = int(job_id, 16) % sum(weights)
        return next(b for b, end in enumerate(accumulate(weights)) if place < end)

    def _belongs_on(self, job_id: str, rung: float, reports: Reports) -> bool:
        """Whether a job is among the best 1/factor of those that have come to this rung."""
        bracket = self._bracket(job_id, reports[job_id][-1])
        alike = {other: r for other, r in reports.items() if self._bracket(other, r[-1]) == bracket}
        values = self._best_by(rung, alike)
        num_better = sum(value > values[job_id] for value in values.values())
        return num_better < max(1, len(values) // self.factor)

    def _below_median(self, job_id: str, reports: Reports) -> str | None:
        last = reports[job_id][-1]
        if last.epoch < last.first:
            return None
        values = self._best_by(last.epoch, reports)
        own = values.pop(job_id)
        if len(values) < NUM_TO_COMPARE or own >= median(values.values()):
            return None
        return f"worse than the median of {len(values)} others at epoch {last.epoch:.3g}"

    def _best_by(self, epoch: float, reports: Reports) -> dict[str, float]:
        """The best value up to `epoch` of each job that has come to it, higher being better.

        The report with which a rung is passed belongs to the rung.
        """
        before = epoch - 1e-9
        return {
            job_id: max(
                self._score(report.value)
                for i, report in enumerate(found)
                if i == 0 or found[i - 1].epoch < before
            )
            for job_id, found in reports.items()
            if found[-1].epoch >= before
        }

    def _score(self, value: float) -> float:
        """Higher is better; what is no number is worst."""
        if math.isnan(value):
            return -math.inf
        return value if self.higher_is_better else -value


class SweepJudge:
    """Reports what one job has come to, and says whether it should stop."""

    def __init__(self, pruning: Pruning, job_id: str) -> None:
        self.metric = pruning.metric
        self._pruning = pruning
        self._job_id = job_id

    def verdict(self, step: int, clock: Clock, value: float) -> str | None:
        """Why the run should stop after `step` steps with this value; None: go on."""
        # After 0 steps there is nothing to compare, and no rung would lie above a rung there.
        first = max(1, math.ceil(clock.steps(self._pruning.after)))
        line = {
            "id": self._job_id,
            "metric": self.metric,
            "epoch": round(clock.epochs(step), 6),
            "total": round(clock.epochs(clock.total_steps), 6),
            "first": round(clock.epochs(first), 6),
            "value": value,
        }
        path = Path(self._pruning.path)
        # One at a time, so that what is decided by is what was known.
        with FileLock(path.with_suffix(".lock")).acquire(poll_interval=0.01):
            with path.open("a") as file:
                file.write(json.dumps(line) + "\n")
            reports = self._pruning.reports()
        return self._pruning.reason_to_stop(self._job_id, reports)

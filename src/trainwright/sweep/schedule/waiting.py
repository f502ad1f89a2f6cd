"""The jobs of a sweep that are not at work here: new ones, and those that come back."""

from collections import deque

from trainwright.sweep.job import Job
from trainwright.sweep.schedule.audience import Audience
from trainwright.sweep.schedule.crews import Crews
from trainwright.sweep.schedule.source import Source
from trainwright.sweep.store import State, Store
from trainwright.sweep.verdict.pruning import Pruning


class Waiting:
    """Hands out jobs: first those to try again, then those pruned too early, then new ones."""

    def __init__(
        self,
        source: Source,
        store: Store,
        *,
        pruning: Pruning | None,
        crews: Crews,
        audience: Audience,
    ) -> None:
        self._source = source
        self._store = store
        self._pruning = pruning
        self._crews = crews
        self._audience = audience
        self._again: deque[Job] = deque()
        self._elsewhere: list[Job] = []  # that other processes are at
        self._were_elsewhere: set[str] = set()
        self._pruned: dict[str, Job] = {}

    def next(self) -> Job | None:
        """The next job, if there is one now."""
        return self._again.popleft() if self._again else self._promoted() or self._source.next()

    def _promoted(self) -> Job | None:
        """A job that was pruned, and belongs to the best by now."""
        if self._pruning is None or not self._pruned:
            return None
        promoted = self._pruning.promoted(self._pruned, self._pruning.reports())
        if not promoted:
            return None
        job = self._pruned.pop(promoted[0])
        self._audience.note(f"goes on: {job.label}")
        return job

    def with_mates(self, job: Job) -> list[Job]:
        """The job, and those that it makes its steps with."""
        return [job, *self._crews.joining(job, self._again, self._source)]

    def halves(self, jobs: list[Job]) -> list[Job]:
        """Take back what is left of a stack, to go on in two halves; returned is what that is."""
        left = self._crews.halved(jobs)
        self._again.extend(left)
        return left

    def again(self, job: Job) -> None:
        """Take a job back, to be tried once more."""
        self._again.append(job)

    def is_done(self, job: Job, state: State) -> bool:
        """Whether nothing is left to do of a job.

        Without pruning a pruned one goes on, and so does one that another metric has pruned.
        """
        if state["status"] != "pruned" or self._pruning is None:
            return bool(state["status"] == "finished")
        reports = self._pruning.reports()
        return job.id in reports and not self._pruning.promoted([job.id], reports)

    def pruned(self, job: Job) -> None:
        """Remember a job that was pruned: it may turn out to belong to the best."""
        self._pruned[job.id] = job

    def elsewhere(self, job: Job) -> None:
        """Another process is at this job: see what becomes of it."""
        self._elsewhere.append(job)
        self._were_elsewhere.add(job.id)

    def was_elsewhere(self, job: Job) -> bool:
        """Whether another process has been at this job in the meantime."""
        return job.id in self._were_elsewhere

    @property
    def for_others(self) -> bool:
        """Whether other processes are at some of the jobs."""
        return bool(self._elsewhere)

    def look_elsewhere(self) -> None:
        """Take back the jobs that other processes have let go of."""
        for job in list(self._elsewhere):
            if not self._store.is_at_work(job.id):
                self._elsewhere.remove(job)
                self._again.append(job)

"""The jobs of a sweep that are not at work here: new ones, and those that come back."""

from collections import deque
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from trainwright.sweep.job import Job
from trainwright.sweep.store import DONE, State, Store
from trainwright.sweep.verdict.pruning import Pruning

if TYPE_CHECKING:  # it needs Optuna
    from trainwright.sweep.schedule.search import Search


class Queue:
    """Hands out jobs: first those to try again, then those pruned too early, then new ones.

    New ones are the listed ones, or what a search makes up as it goes. `stacks`: the ids of jobs
    that go to work in one process, because they make their steps together.
    """

    def __init__(
        self,
        jobs: Iterable[Job],
        store: Store,
        *,
        search: "Search | None" = None,
        pruning: Pruning | None = None,
        stacks: Iterable[Sequence[str]] = (),
    ) -> None:
        self._new, self._again = deque(jobs), deque[Job]()
        self._store = store
        self._search = search
        self.pruning = pruning
        self.total = len(self._new) if search is None else search.total  # will there have been
        self._stacks = {job_id: set(stack) for stack in stacks for job_id in stack}
        self._elsewhere: list[Job] = []  # other processes work on them
        self._were_elsewhere: set[str] = set()
        self._pruned: dict[str, Job] = {}

    def next(self) -> Job | None:
        """The next job; None if there is none now: ask again when one has ended."""
        if self._again:
            return self._again.popleft()
        if self.pruning is not None and self._pruned:
            promoted = self.pruning.promoted(self._pruned, self.pruning.reports())
            if promoted:
                return self._pruned.pop(promoted[0])
        if self._search is not None:
            return self._search.next()
        return self._new.popleft() if self._new else None

    def with_stack(self, job: Job) -> list[Job]:
        """The job, and those of its stack that wait and are neither done nor at work elsewhere."""
        wanted = self._stacks.get(job.id, set()) - {job.id}
        if not wanted:
            return [job]
        found = [other for other in (*self._again, *self._new) if other.id in wanted]
        ready = [other for other in found if self._is_free(other)]
        self._new = deque(other for other in self._new if other.id not in wanted)
        self._again = deque(other for other in self._again if other.id not in wanted)
        self._again.extend(other for other in found if other not in ready)
        return [job, *ready]

    def _is_free(self, job: Job) -> bool:
        status = self._store.state(job.id)["status"]
        return status not in DONE and not self._store.is_at_work(job.id)

    def halve(self, jobs: Sequence[Job]) -> list[Job]:
        """Take back those of a stack that are left, from now on two stacks; they are returned."""
        to_do = ("stopped", "planned")
        left = [job for job in jobs if self._store.state(job.id)["status"] in to_do]
        middle = len(left) // 2
        for half in (left[:middle], left[middle:]):
            self._stacks |= {job.id: {other.id for other in half} for job in half}
        self._again.extend(left)
        return left

    def pruned(self, job: Job) -> None:
        """Remember a job that was pruned: it may turn out to belong to the best."""
        self._pruned[job.id] = job

    def again(self, job: Job) -> None:
        """Take a job back, to be tried once more."""
        self._again.append(job)

    def ended(self, job: Job, state: State) -> None:
        """Tell the search, if there is one, of a job that will not be tried again."""
        if self._search is not None:
            self._search.ended(job, state)

    def is_done(self, job: Job, state: State) -> bool:
        """Whether nothing is left to do of a job.

        Without pruning a pruned one goes on, and so does one that another metric has pruned.
        """
        if state["status"] != "pruned" or self.pruning is None:
            return bool(state["status"] == "finished")
        reports = self.pruning.reports()
        return job.id in reports and not self.pruning.promoted([job.id], reports)

    def elsewhere(self, job: Job) -> None:
        """Another process works on this job: see what becomes of it."""
        self._elsewhere.append(job)
        self._were_elsewhere.add(job.id)

    def was_elsewhere(self, job: Job) -> bool:
        """Whether another process has worked on this job in the meantime."""
        return job.id in self._were_elsewhere

    @property
    def waits_for_others(self) -> bool:
        """Whether other processes work on some of the jobs."""
        return bool(self._elsewhere)

    def look_elsewhere(self) -> None:
        """Take back the jobs that other processes have let go of."""
        before, self._elsewhere = self._elsewhere, []
        for job in before:
            (self._elsewhere if self._store.is_at_work(job.id) else self._again).append(job)

"""Where a scheduler gets its jobs from: a list, or a search that makes them up as it goes."""

from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Collection, Iterable

from trainwright.sweep.job import Job
from trainwright.sweep.store import State


class Source(ABC):
    """Hands out jobs."""

    @property
    @abstractmethod
    def total(self) -> int:
        """How many jobs there will have been."""

    @abstractmethod
    def next(self) -> Job | None:
        """The next job; None if there is none now: ask again when a job has ended."""

    def take(self, job_ids: Collection[str]) -> list[Job]:
        """Hand out those of the jobs that wait, to go with another; of a search none do."""
        return []

    @abstractmethod
    def ended(self, job: Job, state: State) -> None:
        """Hear how a job ended that will not be tried again."""


class Listed(Source):
    """Jobs that are known beforehand, in their order."""

    def __init__(self, jobs: Iterable[Job]) -> None:
        self._left = deque(jobs)
        self._total = len(self._left)

    @property
    def total(self) -> int:
        """How many jobs the list has."""
        return self._total

    def next(self) -> Job | None:
        """The next job of the list."""
        return self._left.popleft() if self._left else None

    def take(self, job_ids: Collection[str]) -> list[Job]:
        """Those of the list."""
        taken = [job for job in self._left if job.id in job_ids]
        self._left = deque(job for job in self._left if job.id not in job_ids)
        return taken

    def ended(self, job: Job, state: State) -> None:
        """Nothing depends on it."""

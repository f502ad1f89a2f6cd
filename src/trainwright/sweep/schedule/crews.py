"""Which jobs go to work in one process, because they make their steps together."""

from collections import deque
from collections.abc import Sequence

from trainwright.sweep.job import Job
from trainwright.sweep.schedule.source import Source
from trainwright.sweep.store import DONE, Store

BEGUN = ("stopped", "planned")  # of a job that is not done, and has not failed


class Crews:
    """Finds the jobs of a stack, and halves it where memory does not hold it."""

    def __init__(self, stacks: Sequence[Sequence[str]], store: Store) -> None:
        self._store = store
        self._mates = {job_id: set(stack) for stack in stacks for job_id in stack}

    def joining(self, job: Job, again: deque[Job], source: Source) -> list[Job]:
        """The jobs that go with this one; they are taken from `again` and the source.

        Those that are done or at work elsewhere are left in `again`.
        """
        wanted = self._mates.get(job.id, set()) - {job.id}
        if not wanted:
            return []
        found = [mate for mate in again if mate.id in wanted]
        found += source.take(wanted)
        for mate in found:
            if mate in again:
                again.remove(mate)
        ready = [mate for mate in found if self._is_free(mate)]
        again.extend(mate for mate in found if mate not in ready)
        return ready

    def _is_free(self, job: Job) -> bool:
        state = self._store.state(job.id)
        return state["status"] not in DONE and not self._store.is_at_work(job.id)

    def halved(self, jobs: Sequence[Job]) -> list[Job]:
        """Those of a stack that have to go on, from now on in two halves."""
        left = [job for job in jobs if self._store.state(job.id)["status"] in BEGUN]
        middle = len(left) // 2
        for half in (left[:middle], left[middle:]):
            self._mates |= {job.id: {mate.id for mate in half} for job in half}
        return left

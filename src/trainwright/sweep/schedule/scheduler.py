"""Keep every slot busy until all jobs have ended; a job that fails takes only itself with it."""

import signal
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field

from trainwright.errors import TrainwrightError
from trainwright.sweep.job import Job
from trainwright.sweep.schedule.queue import Queue
from trainwright.sweep.schedule.show import Show
from trainwright.sweep.settings import SweepSettings
from trainwright.sweep.store import State, Store
from trainwright.sweep.workers.slots import Slot
from trainwright.sweep.workers.tasks import BUSY, TOO_LARGE, death, job_task, stack_task
from trainwright.sweep.workers.workers import Event, Workers

LOOK = 0.2  # seconds between two looks at the clock
GRACE = 10.0  # seconds between asking a job to stop and killing it
MAX_DEATHS = 3  # of the server, in a row


@dataclass
class Running:
    """A process at work: on one job, or on several that make their steps together."""

    jobs: list[Job]
    slot: Slot
    since: float  # seconds of a monotonic clock
    asked: float | None = None  # since when it should stop
    reason: str | None = None  # why it was asked, if that makes it a failure


@dataclass
class Ending:
    """How it all ended: jobs that failed, in the order of their numbers, and what stopped it."""

    failed: list[tuple[Job, State]] = field(default_factory=list)
    signal: int | None = None  # that has stopped the sweep


class Scheduler:
    """Runs the jobs of a queue, each in a slot, until there are no more."""

    def __init__(
        self,
        queue: Queue,
        store: Store,
        workers: Workers,
        slots: Sequence[Slot],
        settings: SweepSettings,
        show: Show,
    ) -> None:
        self._queue = queue
        self._store = store
        self._workers = workers
        self._free = deque(slots)
        self._settings = settings
        self._show = show
        self._running: dict[int, Running] = {}
        self._over: set[int] = set()  # numbers of the jobs that have ended for good
        self._attempts: dict[str, int] = {}
        self._num_started = 0
        self._num_deaths = 0
        self._stopping = False
        self._requests: list[int] = []  # signals
        self._ending = Ending()

    def request_stop(self, number: int) -> None:
        """Ask for a stop; called again, for an end at once. It is all that a handler may do."""
        self._requests.append(number)

    def _obey_requests(self) -> None:
        if self._requests and self._ending.signal is None:
            self._ending.signal = self._requests[0]
            self._stop()
        if self._requests[1:].count(signal.SIGINT):
            for key in self._running:
                self._workers.signal(key, signal.SIGKILL)

    def _stop(self) -> None:
        """Start nothing more, and let what runs save and stop."""
        self._stopping = True
        for key in self._running:
            self._workers.signal(key, signal.SIGTERM)

    def run(self) -> Ending:
        """Run until every job has ended or the sweep was stopped."""
        while True:
            self._obey_requests()
            self._fill()
            if not self._running and (self._stopping or not self._queue.waits_for_others):
                break
            for event in self._workers.events(LOOK):
                self._hear(event)
            self._watch_time()
            self._queue.look_elsewhere()
            num_running = sum(len(running.jobs) for running in self._running.values())
            self._show.tick(len(self._over), self._queue.total, num_running)
        self._ending.failed.sort(key=lambda failure: failure[0].number)
        return self._ending

    def _fill(self) -> None:
        """Give every free slot a job, if there is one."""
        while self._free and not self._stopping:
            job = self._queue.next()
            if job is None:
                return
            if job.number in self._over:
                self._over.discard(job.number)
                self._show.note(f"goes on: {job.label}")  # it was pruned too early
            state = self._store.state(job.id)
            if self._queue.is_done(job, state):
                self._end(job, state, is_news=self._queue.was_elsewhere(job))
            elif self._store.is_at_work(job.id):
                self._queue.elsewhere(job)
            else:
                self._start(self._queue.with_stack(job), self._free.popleft())

    def _start(self, jobs: list[Job], slot: Slot) -> None:
        self._num_started += 1
        for job in jobs:
            self._attempts[job.id] = self._attempts.get(job.id, 0) + 1
        job = jobs[0]
        # What was begun in a stack goes on in one, were it the last of it: to the bit.
        if len(jobs) > 1 or self._store.state(job.id).get("stacked"):
            task = stack_task(jobs, self._store, threads=slot.threads, pruning=self._queue.pruning)
        else:
            task = job_task(job, self._store, threads=slot.threads, pruning=self._queue.pruning)
        has_own_device = ":" in str(job.config["trainer"]["device"])
        self._running[self._num_started] = Running(jobs, slot, time.monotonic())
        self._workers.start(
            self._num_started,
            task,
            data=[job.config["data"]],
            environment={} if has_own_device else slot.environment,
            log=self._store.log(job),
        )

    def _hear(self, event: Event) -> None:
        if event["event"] == "died":
            self._replace_server()
        elif event["event"] == "started":
            self._running[event["key"]].since = time.monotonic()
        elif event["event"] == "ended" and event["key"] in self._running:
            self._num_deaths = 0
            running = self._running.pop(event["key"])
            self._free.append(running.slot)
            too_large = len(running.jobs) > 1 and event["code"] in (TOO_LARGE, -signal.SIGKILL)
            ended = self._go_on_by_halves(running.jobs) if too_large else running.jobs
            for job in ended:
                self._ended(job, running, event["code"])

    def _go_on_by_halves(self, jobs: list[Job]) -> list[Job]:
        """Memory did not hold a stack: put back what is left of it; return the jobs that ended."""
        left = self._queue.halve(jobs)
        for job in left:
            self._attempts[job.id] -= 1
        if left and not self._stopping:
            self._show.note(f"out of memory with {len(jobs)} jobs stacked: now half as many")
        return [job for job in jobs if job not in left]

    def _ended(self, job: Job, running: Running, code: int) -> None:
        """Find out how a job ended: by its own account, else by how its process did."""
        if code == BUSY or (len(running.jobs) > 1 and self._store.is_at_work(job.id)):
            self._queue.elsewhere(job)
            return
        state = self._store.state(job.id)
        if running.reason is not None:
            state = self._store.note(job, status="failed", error=running.reason, code=1)
        elif state["status"] in ("stopped", "planned"):
            if self._stopping:
                return
            state = self._store.note(job, status="failed", error=death(code), code=max(code, 1))
        if state["status"] == "failed" and self._attempts[job.id] <= self._settings.retries:
            self._show.note(f"try again: {job.label} ({state['error'].splitlines()[0]})")
            self._queue.again(job)
            return
        self._end(job, state)

    def _end(self, job: Job, state: State, *, is_news: bool = True) -> None:
        self._over.add(job.number)
        if state["status"] == "pruned":
            self._queue.pruned(job)
        if state["status"] == "failed":
            self._ending.failed.append((job, state))
            if self._settings.fail_fast and not self._stopping:
                self._show.note("sweep.fail_fast: the others save and stop")
                self._stop()
        self._queue.ended(job, state)
        if is_news:
            self._show.ended(job, state, len(self._over))

    def _watch_time(self) -> None:
        """Stop jobs that take too long: politely, then not."""
        now = time.monotonic()
        for key, running in self._running.items():
            limit = self._settings.timeout
            if limit is not None and running.asked is None and now - running.since > limit:
                running.asked, running.reason = now, f"timed out after {limit:g} s"
                self._workers.signal(key, signal.SIGTERM)
            # Who presses Ctrl-C may do so again; what takes too long has had its time.
            too_late = running.reason is not None and now - (running.asked or now) > GRACE
            if too_late:
                running.asked = now
                self._workers.signal(key, signal.SIGKILL)

    def _replace_server(self) -> None:
        """The server is dead, and its jobs save and stop: put them back, and start another.

        It was data that killed it, for it does nothing else: the new one leaves that to the jobs.
        """
        self._num_deaths += 1
        if self._num_deaths > MAX_DEATHS:
            raise TrainwrightError("the process that starts jobs keeps dying")
        self._show.note("the process that jobs are forked from has died; they start afresh now")
        self._workers.restart(warm=False)
        for running in self._running.values():
            for job in running.jobs:
                self._attempts[job.id] -= 1
                self._queue.elsewhere(job)
            self._free.append(running.slot)
        self._running.clear()

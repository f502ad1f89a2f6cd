"""The one thread that computes: examples of many requests as a batch, texts a slice at a time."""

import asyncio
import contextlib
import sys
import threading
import time
import traceback
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from concurrent.futures import CancelledError, Future, InvalidStateError
from dataclasses import dataclass, field
from typing import Any, TypeVar

import torch
from torch import Tensor

from trainwright.inference.generate import begin
from trainwright.inference.predict import Prediction, answers_to
from trainwright.inference.serve.asked import RefusedError
from trainwright.inference.serve.counts import Counts
from trainwright.inference.trained import Trained
from trainwright.tasks.show import MadeUp, Piece, Writing

SLICE = 0.02  # seconds that a text is written at a time, while others wait
MOST_SLOW = 8  # explanations that wait

Found = TypeVar("Found")

Answer = Mapping[str, Tensor]


@dataclass(eq=False)
class _Question:
    """The examples of one request, and their answers as far as they are known."""

    trained: Trained
    future: asyncio.Future[list[Answer]]
    answers: list[Answer | None]

    def settle(self, error: Exception | None = None) -> None:
        """Tell who waits, if that is everything; in the loop's own thread."""
        if self.future.done():
            return
        if error is not None:
            self.future.set_exception(error)
        elif all(answer is not None for answer in self.answers):
            self.future.set_result([answer for answer in self.answers if answer is not None])


@dataclass(eq=False)
class _Job:
    """What is being made up; `more` goes on with it, a slice at a time."""

    more: Iterator[None] = field(init=False)
    is_dropped: bool = False


class Worker:
    """Waits `wait` seconds at most, once there is an example, until there are `batch` of them."""

    def __init__(self, *, batch: int, wait: float, counts: Counts) -> None:
        self._batch, self._wait, self._counts = batch, wait, counts
        self._waiting: deque[tuple[_Question, int, Prediction]] = deque()
        self._jobs: deque[_Job] = deque()
        self._slow: deque[tuple[Callable[[], Any], Future[Any]]] = deque()
        self._wanted: Future[Any] | None = None  # of the slow work that is being done
        self._news = threading.Condition()
        self._is_ending = False
        self._thread = threading.Thread(target=self._run, name="computes", daemon=True)

    def start(self) -> None:
        """Begin. The loop that runs is the one that is told."""
        self._loop = asyncio.get_running_loop()
        self._thread.start()

    async def stop(self) -> None:
        """Finish what was asked, and end."""
        with self._news:
            self._is_ending = True
            self._news.notify()
        await asyncio.to_thread(self._thread.join)

    async def answers(self, trained: Trained, examples: Sequence[Prediction]) -> list[Answer]:
        """What is said of each example, in their order, as `runs predict` says it."""
        question = _Question(trained, self._loop.create_future(), [None] * len(examples))
        with self._news:
            was_empty = not self._waiting
            self._waiting.extend((question, i, example) for i, example in enumerate(examples))
            if was_empty or len(self._waiting) >= self._batch:
                self._news.notify()
        return await question.future

    async def made(self, trained: Trained, **how: Any) -> AsyncIterator[MadeUp | Piece]:
        """What `begin` makes of that, and of a text its pieces. Raises what that raises."""
        found: asyncio.Queue[Any] = asyncio.Queue()
        job = _Job()

        def send(item: Any) -> None:
            self._loop.call_soon_threadsafe(found.put_nowait, item)

        job.more = _making(trained, how, send)
        with self._news:
            self._jobs.append(job)
            self._news.notify()
        try:
            while (item := await found.get()) is not None:
                if isinstance(item, Exception):
                    raise item
                yield item
        finally:
            job.is_dropped = True

    async def slowly(self, work: Callable[[], Found]) -> Found:
        """What that gives, which calls `pause` often, one such work after another.

        Raises what that raises, and RefusedError where many wait already.
        """
        if len(self._slow) >= MOST_SLOW:
            raise RefusedError(503, "too many explanations are waiting", {"Retry-After": "1"})
        future: Future[Found] = Future()
        with self._news:
            self._slow.append((work, future))
            self._news.notify()
        return await asyncio.wrap_future(future)

    def pause(self) -> None:
        """Within slow work: others have a turn. Raises CancelledError where nobody waits for it."""
        if self._wanted is not None and self._wanted.cancelled():
            raise CancelledError
        if self._waiting or self._jobs:
            self._turn()

    def _run(self) -> None:
        while True:
            with self._news:
                self._news.wait_for(lambda: self._has_work() or self._is_ending)
                if not self._has_work():
                    return
            self._turn()
            if self._slow:
                self._do(*self._slow.popleft())

    def _has_work(self) -> bool:
        return bool(self._waiting or self._jobs or self._slow)

    def _turn(self) -> None:
        """Answer a batch, and go on for a slice with what is being made up."""
        with self._news:
            batch = self._next_batch()
            job = self._jobs.popleft() if self._jobs else None
        if batch:
            self._compute(batch)
        if job is not None and not job.is_dropped and next(job.more, self) is not self:
            with self._news:
                self._jobs.append(job)

    def _do(self, work: Callable[[], Any], future: Future[Any]) -> None:
        self._wanted = future
        with contextlib.suppress(InvalidStateError):  # who waited has left
            try:
                self.pause()
                future.set_result(work())
            except Exception as error:
                future.set_exception(error)
        self._wanted = None

    def _next_batch(self) -> list[tuple[_Question, int, Prediction]]:
        """Examples that one network is asked about, the first that wait. Holds the lock."""
        if not self._waiting:
            return []
        if not self._jobs and not self._is_ending and self._wanted is None:
            self._news.wait_for(lambda: len(self._waiting) >= self._batch, self._wait)
        first, batch, others = self._waiting[0][0].trained, list[Any](), list[Any]()
        while self._waiting and len(batch) < self._batch:
            item = self._waiting.popleft()
            if not item[0].future.done():  # its client may have left
                (batch if item[0].trained is first else others).append(item)
        self._waiting.extendleft(reversed(others))
        return batch

    def _compute(self, batch: Sequence[tuple[_Question, int, Prediction]]) -> None:
        error = None
        try:
            found = answers_to(batch[0][0].trained, [example for _, _, example in batch])
            for (question, place, _), answer in zip(batch, found, strict=True):
                question.answers[place] = answer
        except Exception as problem:
            traceback.print_exc(file=sys.stderr)
            error = problem
        self._counts.batches.add(len(batch))
        questions = list(dict.fromkeys(question for question, _, _ in batch))

        def settle() -> None:
            for question in questions:
                question.settle(error)

        self._loop.call_soon_threadsafe(settle)


def _making(
    trained: Trained, how: Mapping[str, Any], send: Callable[[Any], None]
) -> Iterator[None]:
    """Each step is a slice of the work; contexts are left between two, for others come between."""
    try:
        made = begin(trained, **how)
        send(made)
        pieces = made.pieces if isinstance(made, Writing) else iter(())
        is_done = False
        while not is_done:
            yield
            end = time.monotonic() + SLICE
            with torch.no_grad(), trained.placement.autocast():
                is_done = True
                for piece in pieces:
                    send(piece)
                    if time.monotonic() > end:
                        is_done = False
                        break
        send(None)
    except Exception as error:
        send(error)

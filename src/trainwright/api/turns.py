"""Trainings in several threads of one process take turns, step by step.

torch draws the random numbers of a step from one generator in a process, and so many threads as
one of them has asked for compute: what makes a step is alone while it does. So each training has
the bits that it has by itself.
"""

import contextlib
import os
import threading
import time
from collections.abc import Callable, Generator, Iterator
from functools import partial

import torch

from trainwright.engine.step import Metrics, Move
from trainwright.engine.trainer import Outcome, Training

MOMENT = 1e-4  # seconds, in which one who waits is sure to begin


class _Turn:
    """A lock that its holder can let others have for a moment. A hook may train or predict, too."""

    def __init__(self) -> None:
        self._waiting: set[int] = set()
        self._lock = threading.RLock()

    def begin(self) -> None:
        """Wait until nobody else is at work."""
        me = threading.get_ident()
        self._waiting.add(me)
        try:
            self._lock.acquire()
        finally:
            self._waiting.discard(me)

    def end(self) -> None:
        """Let whoever waits begin."""
        self._lock.release()

    def pass_on(self) -> None:
        """The same, and wait for the next turn."""
        if not self._waiting:
            return
        threads = torch.get_num_threads()
        self.end()
        time.sleep(MOMENT)
        self.begin()
        if torch.get_num_threads() != threads:
            torch.set_num_threads(threads)

    def forget(self) -> None:
        """Nobody is at work."""
        self._waiting.clear()
        self._lock = threading.RLock()


_turn = _Turn()
_found: dict[object, torch.Tensor] = {}  # the state of torch's generator, by who is to leave it so
forked_at: list[int] = []  # the process, where it was forked from one that knew torch


def _begin_anew() -> None:
    """A forked process has none of the other threads: those of OpenMP would be waited for."""
    forked_at[:] = [os.getpid()]
    _turn.forget()
    _found.clear()
    torch.set_num_threads(1)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_begin_anew)


@contextlib.contextmanager
def alone() -> Iterator[None]:
    """While this context is open no training makes a step, and torch is left as it was found."""
    _turn.begin()
    threads, me = torch.get_num_threads(), object()
    if not _found:  # else it was found so before another thread began to draw
        _found[None] = torch.random.get_rng_state()
    _found[me] = _found[None]
    try:
        yield
    finally:
        if torch.get_num_threads() != threads:
            torch.set_num_threads(threads)
        del _found[me]
        if _found.keys() == {None}:
            torch.random.set_rng_state(_found.pop(None))
        _turn.end()


def in_turns(training: Training[Outcome]) -> Training[Outcome]:
    """The training, which lets those of other threads make a step before each of its own."""
    with alone():
        go_on: Callable[[], Move] = partial(next, training)
        while True:
            try:
                move = go_on()
            except StopIteration as end:
                outcome: Outcome = end.value
                return outcome
            _turn.pass_on()
            go_on = yield from _answer(training, move)


def _answer(
    training: Training[Outcome], move: Move
) -> Generator[Move, Metrics, Callable[[], Move]]:
    """Ask for a step; returns what tells the training how it went."""
    try:
        metrics = yield move
    except BaseException as error:
        return partial(training.throw, error)
    return partial(training.send, metrics)

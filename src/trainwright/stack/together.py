"""Several runs, each going about its own business, that make their steps together."""

import contextvars
from collections.abc import Callable, Sequence
from functools import partial
from typing import Generic

from trainwright.engine.device.memory import is_out_of_memory
from trainwright.engine.step import Metrics, Move
from trainwright.engine.trainer import Outcome, Training
from trainwright.stack.step import Stack


class _Member(Generic[Outcome]):
    """One run, which is at work only while it is spoken to, in a context of its own."""

    def __init__(self, training: Training[Outcome]) -> None:
        self._training = training
        self._context = contextvars.copy_context()
        self.move: Move | None = None  # that it waits for
        self.ended: list[Outcome | BaseException] = []  # what it has returned, or raised

    def begin(self) -> None:
        self._speak(partial(next, self._training))

    def tell(self, result: Metrics | BaseException) -> None:
        if isinstance(result, BaseException):
            self._speak(partial(self._training.throw, result))
        else:
            self._speak(partial(self._training.send, result))

    def give_up(self) -> None:
        """Let it end where it is, as it does where a process ends: in its own context."""
        self._context.run(self._training.close)

    def _speak(self, say: Callable[[], Move]) -> None:
        self.move = None
        try:
            self.move = self._context.run(say)
        except StopIteration as end:
            self.ended.append(end.value)
        except BaseException as error:
            self.ended.append(error)


def together(trainings: Sequence[Training[Outcome]]) -> list[Outcome | BaseException]:
    """Make the steps of all trainings, those that are at the same one as one program.

    Who is behind (it has gone back, or began at an earlier checkpoint) goes first. Returns for each
    what it returns, or the error that has ended it. Raises what torch does where memory does not
    hold them all.
    """
    members = [_Member(training) for training in trainings]
    try:
        _drive(members)
    except BaseException:
        for member in members:
            member.give_up()
        raise
    return [member.ended[0] for member in members]


def _drive(members: Sequence[_Member[Outcome]]) -> None:
    for member in members:
        member.begin()
    stack: Stack | None = None
    while waiting := [(m, m.move) for m in members if m.move is not None]:
        first = min(move.state.step for _, move in waiting)
        now = [(member, move) for member, move in waiting if move.state.step == first]
        moves = [move for _, move in now]
        try:
            if stack is None or not stack.holds(moves):
                if stack is not None:
                    stack.let_go_but(moves)
                stack = Stack(moves)
            results: Sequence[Metrics | BaseException] = stack.step()
        except BaseException as error:
            if len(now) > 1 and is_out_of_memory(error):
                raise
            results = [error for _ in now]
        for (member, _), result in zip(now, results, strict=True):
            member.tell(result)
        if any(isinstance(result, BaseException) for result in results):
            stack = None  # who goes on after an error may hold other tensors than before

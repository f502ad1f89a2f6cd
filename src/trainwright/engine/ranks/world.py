"""The processes that train a run together. One by itself is a world of one, and imports nothing."""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any, NamedTuple, Protocol, TypeVar

import torch
from torch import Tensor

from trainwright.errors import TrainwrightError


class RankLostError(TrainwrightError):
    """Another rank has ended. Who looks after them says which, and why."""

    exit_code = 75


Held = TypeVar("Held", bound=Tensor)
# What torch says of a connection, and of nothing that a network computes.
_OF_OTHERS = re.compile(r"gloo|nccl|connection (closed|reset|refused)|timed out", re.IGNORECASE)


def held(parameter: Held) -> Held:
    """What this rank holds of a tensor: all of it, or of one that is sharded its part."""
    # Not `to_local`, which makes another tensor each time, by which no optimizer would know it.
    mine: Held = getattr(parameter, "_local_tensor", parameter)
    return mine


@contextmanager
def noticing(*, those_of_others: bool = False) -> Iterator[None]:
    """What torch raises where another rank does not answer is a RankLostError.

    `those_of_others`: where it may raise something else, too, of which only its text tells.
    """
    try:
        yield
    except RuntimeError as error:
        first = str(error).partition("\n")[0]
        if those_of_others and not _OF_OTHERS.search(str(error)):
            raise
        how = "does not answer" if "timed out" in first.lower() else "has ended"
        raise RankLostError(f"another rank {how}: {first}") from error


class Exchange(Protocol):
    """Adds up what the ranks have of one player's gradients."""

    def begin(self, earlier: Sequence[Tensor], notes: Mapping[str, Tensor]) -> None:
        """Send gradients as the backward pass that follows makes them, each plus an `earlier` one.

        `notes`: this rank's share of what is logged, 0-dim.
        """

    def end(self, gradients: Sequence[Tensor]) -> tuple[list[Tensor], dict[str, Tensor]]:
        """The sums over all ranks, of the gradients and of the notes."""


class Message(NamedTuple):
    """What one rank tells another: plain JSON types, and tensors by name on the CPU."""

    what: str
    plain: Any
    tensors: Mapping[str, Tensor]


class World:
    """One process by itself. `engine/ranks/group.py` has the world of several."""

    rank: int = 0
    size: int = 1
    # Whether the others listen to rank 0 before they go on with the next step.
    listening: bool = False
    has_begun: bool = False  # the others know the run
    is_sharded: bool = False  # each rank has a part of the weights, and sums for it
    is_talking: bool = False  # which must not be cut short
    asked: int | None = None  # the signal that has asked this rank to stop, until all know of it
    # What rank 0 does about a signal that any rank was sent.
    on_signal: Callable[[int], None] | None = None

    @property
    def is_shared(self) -> bool:
        """Whether there are others."""
        return self.size > 1

    @property
    def leads(self) -> bool:
        """Whether this is the one that a person sees."""
        return self.rank == 0

    def rows(self, batch_size: int, parts: int) -> Tensor | None:
        """Which rows of each batch this rank computes, (n,) int64; None: all.

        Of each of the equal parts of the batch every so-many-th, so that any number of ranks sees
        the same parts.
        """
        if not self.is_shared:
            return None
        rows = torch.arange(batch_size).view(parts, -1)
        return rows[:, self.rank :: self.size].flatten()

    def exchange(self, player: str, parameters: Sequence[Tensor]) -> Exchange:
        """What adds up the gradients of a player."""
        raise NotImplementedError

    def total(self, mine: Tensor) -> Tensor:
        """The sum over all ranks of a number that each has."""
        return mine

    def begin_step(self, *, listen: bool) -> None:
        """Say whether rank 0 will have something to say after the step that begins."""

    def drawing(
        self, num_rows: int, num_mine: int, seed: Sequence[int | str], device: torch.device
    ) -> AbstractContextManager[object]:
        """The context in which a rank draws, of what a batch of `num_rows` draws, its `num_mine`.

        `seed`: of what each rank draws for itself alone.
        """
        return nullcontext()

    def wait_at_most(self, seconds: float) -> None:
        """From now on a rank that does not answer for so long is a RankLostError."""

    def leave(self) -> None:
        """There is nothing more to be done together."""

    def release(self, *, stop: bool) -> None:
        """Rank 0 lets the others go on with the next step, or stop, if they listen."""
        if self.listening and self.leads:
            self.tell("stop" if stop else "go on")
            self.listening = False

    def tell(
        self, what: str, plain: Any = None, tensors: Mapping[str, Tensor] | None = None
    ) -> None:
        """Rank 0 tells all others, who must `hear`."""

    def hear(self) -> Message:
        """Wait for what rank 0 tells."""
        raise NotImplementedError

    def answer(self, plain: Any = None, tensors: Mapping[str, Tensor] | None = None) -> None:
        """Answer rank 0, which must take `answers`."""
        raise NotImplementedError

    def answers(self) -> list[Message]:
        """The answers of ranks 1, 2, ..., waited for one by one."""
        return []

    def look_up(self) -> bool:
        """Between two batches of an evaluation: whether to leave it. Rank 0 hears of signals."""
        return False

    def cut_short(self) -> None:
        """Let the others leave the evaluation that is under way."""


ALONE = World()

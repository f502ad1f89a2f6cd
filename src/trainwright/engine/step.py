"""One training step: the only place where players move.

Each takes its turn: gradients, reduce, decide, clip, apply. The loop is the same for all; how these
are computed is a `Backend`. There are three: a run by itself, which looks at its numbers (`_Eager`,
here); a run whose numbers stay on the device (`engine/fast/static_step.py`); and several runs as
one program (`stack/step.py`).
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from typing import NamedTuple, Protocol, TypeVar

import torch
from torch import Tensor

from trainwright.data.batches import Batches
from trainwright.data.examples import Batch
from trainwright.engine.clock import Clock
from trainwright.engine.nonfinite import refused_move
from trainwright.engine.ranks.world import noticing
from trainwright.engine.settings import TrainerSettings
from trainwright.engine.state import TrainState
from trainwright.errors import NonFiniteError
from trainwright.seeds import reseed_global
from trainwright.tasks.task import Carry, Task

Metrics = Mapping[str, Tensor]  # detached tensors to be logged
# Equal parts of a batch, and what the turns of a step leave for each other in each.
Parts = Sequence[tuple[Batch, Carry]]


class Move(NamedTuple):
    """A step that is to be made: step number `state.step`, on the batch of that number."""

    state: TrainState
    batches: Batches
    settings: TrainerSettings


Norm = TypeVar("Norm")  # how a backend holds the global norm of a player's gradients


class Backend(Protocol[Norm]):
    """How the parts of a turn are computed."""

    def gradients(self, player: str, parts: Parts) -> tuple[list[Tensor], Metrics]:
        """Of the player's loss for its own parameters, and what is to be logged."""

    def decide(self, player: str, loss: Tensor, grads: list[Tensor]) -> tuple[Norm, Tensor] | None:
        """The norm of the gradients, also as what is logged; None: nobody moves from here on.

        Raises NonFiniteError where a number went wrong and the run must know at once.
        """

    def clip(self, grads: list[Tensor], norm: Norm) -> None:
        """Scale the gradients down in place where their norm is above `trainer.clip_norm`."""

    def apply(self, player: str, grads: list[Tensor]) -> None:
        """Move the player along its gradients."""

    def finish(self) -> None:
        """Update the averages, after the last turn."""


def make_step(backend: Backend[Norm], task: Task, step: int, parts: Parts) -> dict[str, Tensor]:
    """Let each player move once, in turn, against the others as they now stand.

    Returns detached tensors to be logged, `<player>/<metric>` where there are several players.
    """
    seen: dict[str, Tensor] = {}
    for player in task.turns(step):
        gradients, metrics = backend.gradients(player, parts)
        # Reduced already: ranks have the sums over all of them, and decide, clip and move alike.
        prefix = f"{player}/" if len(task.players) > 1 else ""
        decided = backend.decide(player, metrics["loss"], gradients)
        if decided is None:
            break
        seen |= {f"{prefix}{name}": value for name, value in metrics.items()}
        norm, seen[f"{prefix}grad_norm"] = decided
        backend.clip(gradients, norm)
        backend.apply(player, gradients)
    backend.finish()
    return seen


def train_step(state: TrainState, batch: Batch, settings: TrainerSettings) -> dict[str, Tensor]:
    """Make one step of a run by itself, on this batch.

    Raises NonFiniteError before anything is changed by the player whose numbers went wrong.
    """
    if state.rounds is not None:  # whose clients have batches of their own
        return state.rounds.step(state, settings)
    backend = _Eager(state, batch, settings)
    return make_step(backend, state.task, state.step, backend.parts)


def refused_turn(move: Move, turn: int) -> NonFiniteError:
    """The error for a turn of this step, by its number, computed once more: no player moves."""
    state, batch = move.state, move.batches.at(move.state.step)
    backend = _Eager(state, batch, move.settings)
    for player in state.task.turns(state.step)[: turn + 1]:
        grads, metrics = backend.gradients(player, backend.parts)
    return refused_move(state, player, batch, metrics["loss"], grads, global_norm(grads))


class _Eager:
    """One step of a run whose numbers are read on the host; its random draws begin here."""

    def __init__(self, state: TrainState, batch: Batch, settings: TrainerSettings) -> None:
        reseed_global(state.seed, "step", state.step, device=state.placement.device)
        self._state, self._batch, self._settings = state, batch, settings
        self._factor = state.schedule.factor(state.step) * state.recovery.lr_scale
        self._has_overflowed = False
        parts = in_parts(batch, settings.accumulate)
        self.parts = [(part, known(state.step, state.clock)) for part in parts]

    def gradients(self, player: str, parts: Parts) -> tuple[list[Tensor], Metrics]:
        state = self._state
        if state.privacy is None:
            return gradients(state, player, parts)
        return state.privacy.gradients(
            state.task,
            player,
            state.optimizers[player].parameters,
            parts,
            step=state.step,
            autocast=state.placement.autocast,
        )

    def decide(self, player: str, loss: Tensor, grads: list[Tensor]) -> tuple[float, Tensor] | None:
        scale, shards = self._state.scale, self._state.shards
        norm = global_norm(grads) if shards is None else shards.norm(grads)
        if not math.isfinite(float(loss) + norm):  # these two decide
            if not (scale.is_dynamic and scale.value > 1):
                raise refused_move(self._state, player, self._batch, loss, grads, norm)
            scale.overflowed()
            self._has_overflowed = True
            return None
        if scale.value != 1:
            torch._foreach_mul_(grads, 1 / scale.value)
            norm /= scale.value
        return norm, torch.tensor(norm)

    def clip(self, grads: list[Tensor], norm: float) -> None:
        if self._settings.clip_norm is not None:
            clip_(grads, norm, self._settings.clip_norm)

    def apply(self, player: str, grads: list[Tensor]) -> None:
        self._state.optimizers[player].step(grads, self._factor)

    def finish(self) -> None:
        state = self._state
        if not self._has_overflowed:
            state.scale.succeeded()
        if state.averaged is not None:
            state.averaged.update(state.step)


def gradients(
    state: TrainState, player: str, parts: Parts
) -> tuple[list[Tensor], dict[str, Tensor]]:
    """The mean gradient over all parts, times the scale of the loss, and the mean of what was seen.

    More than one part is gradient accumulation. A parameter that the loss does not depend on has a
    gradient of zeros. Several ranks, each of which has some rows of every part, exchange once: the
    last backward pass sends as it goes.
    """
    world, parameters = state.world, state.optimizers[player].parameters
    exchange = world.exchange(player, parameters) if world.is_shared else None
    shares = _shares(state, parts)
    total: list[Tensor] = []
    seen: dict[str, Tensor] = {}
    for number, ((batch, carry), share) in enumerate(zip(parts, shares, strict=True)):
        is_last = number == len(parts) - 1
        with state.placement.autocast(), _drawing(state, player, number, parts):
            loss, metrics = state.task(player, batch, carry)
        if len(parts) > 1 or exchange is not None:
            seen = {k: seen.get(k, 0) + v.mean() * share for k, v in metrics.items()}
        else:
            seen = metrics
        if exchange is not None and is_last:
            exchange.begin(total, seen)
        weight = share * state.scale.value
        weighted = loss * weight if isinstance(weight, Tensor) or weight != 1 else loss
        part = _derivative(state, player, weighted)
        if exchange is not None and is_last:
            return exchange.end(part)
        total = list(torch._foreach_add(total, part)) if total else part
    return total, seen


def _derivative(state: TrainState, player: str, loss: Tensor) -> list[Tensor]:
    if state.shards is not None:
        return state.shards.gradients(player, loss)
    parameters = state.optimizers[player].parameters
    return list(torch.autograd.grad(loss, parameters, allow_unused=True, materialize_grads=True))


def _shares(state: TrainState, parts: Parts) -> Sequence[float | Tensor]:
    """By how much the mean of each part counts in that of the batch, and there that of this rank.

    As the task says: by the number of examples, or by another, which the ranks then add up.
    """
    world, num = state.world, len(parts)
    if num == 1 and not world.is_shared:
        return [1.0]
    weights = [state.task.weight_of(batch) for batch, _ in parts]
    known = [weight for weight in weights if weight is not None]
    if not known:
        if not world.is_shared:
            return [1 / num] * num
        num_mine = len(next(iter(parts[0][0].values())))
        return [num_mine / (state.clock.batch_size // num) / num] * num
    mine = torch.stack(known).to(torch.get_default_dtype())
    return list(mine / world.total(mine.sum()).clamp(min=1))


@contextmanager
def _drawing(state: TrainState, player: str, number: int, parts: Parts) -> Iterator[None]:
    """The context in which a rank computes, and draws, for its rows of a part."""
    if not state.world.is_shared:
        yield
        return
    num_mine = len(next(iter(parts[number][0].values())))
    num_rows = state.clock.batch_size // len(parts)
    seed = (state.seed, "step", state.step, player, number)
    drawing = state.world.drawing(num_rows, num_mine, seed, state.placement.device)
    computing = nullcontext() if state.shards is None else state.shards.computing()
    with noticing(those_of_others=True), drawing, computing:
        yield


def global_norm(gradients: Sequence[Tensor]) -> float:
    """The Euclidean norm of all gradients together; not finite if any of them is not.

    A dot product of each with itself is the cheapest way on a CPU; on a GPU it is one fused call.
    """
    if gradients[0].is_cuda:
        return float(torch.nn.utils.get_total_norm(gradients))
    flat = [gradient.reshape(-1) for gradient in gradients]
    return math.sqrt(sum(float(torch.dot(g, g)) for g in flat))


def clip_(gradients: list[Tensor], norm: float, max_norm: float) -> None:
    """Scale all gradients down in place so that their global norm is at most `max_norm`."""
    if norm > max_norm:
        torch._foreach_mul_(gradients, max_norm / (norm + 1e-6))


def known(step: int, clock: Clock) -> Carry:
    """What the first turn of a step is given: its number, and the share of the run that is done."""
    return {"step": step, "progress": step / clock.total_steps}


def in_parts(batch: Batch, num_parts: int) -> list[Batch]:
    """The batch in equal parts, for gradient accumulation."""
    if num_parts == 1:
        return [batch]
    chunks = {name: column.tensor_split(num_parts) for name, column in batch.items()}
    return [{name: parts[i] for name, parts in chunks.items()} for i in range(num_parts)]

"""One training step: the only place where players move.

Each takes its turn: gradients, reduce, decide, clip, apply. The loop is the same for all; how these
are computed is a `Backend`. There are three: a run by itself, which looks at its numbers (`_Eager`,
here); a run whose numbers stay on the device (`engine/fast/static_step.py`); and several runs as
one program (`stack/step.py`).
"""

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple, Protocol, TypeVar

import torch
from torch import Tensor

from trainwright.data.batches import Batch, Batches
from trainwright.engine.clock import Clock
from trainwright.engine.gradients import clip_, global_norm, gradients
from trainwright.engine.nonfinite import refused_move
from trainwright.engine.settings import TrainerSettings
from trainwright.engine.state import TrainState
from trainwright.errors import NonFiniteError
from trainwright.seeds import reseed_global
from trainwright.tasks.task import Handed as Carry
from trainwright.tasks.task import Task

Metrics = Mapping[str, Tensor]  # detached tensors to be logged


class Move(NamedTuple):
    """A step that is to be made: step number `state.step`, on the batch of that number."""

    state: TrainState
    batches: Batches
    settings: TrainerSettings


Norm = TypeVar("Norm")  # how a backend holds the global norm of a player's gradients


class Backend(Protocol[Norm]):
    """How the parts of a turn are computed."""

    def gradients(
        self, player: str, parts: Sequence[Batch], carry: Sequence[Carry]
    ) -> tuple[list[Tensor], Metrics]:
        """The gradients of the player's loss for its own parameters, and what is to be logged.

        `parts` are equal parts of the batch; `carry` is, for each, what a turn leaves for the next.
        """

    def decide(
        self, player: str, loss: Tensor, gradients: list[Tensor]
    ) -> tuple[Norm, Tensor] | None:
        """The norm of the gradients, also as what is logged; None: nobody moves from here on.

        Raises NonFiniteError where a number went wrong and the run must know at once.
        """

    def clip(self, gradients: list[Tensor], norm: Norm) -> None:
        """Scale the gradients down in place where their norm is above `trainer.clip_norm`."""

    def apply(self, player: str, gradients: list[Tensor]) -> None:
        """Move the player along its gradients."""

    def finish(self) -> None:
        """Update the averages, after the last turn."""


def make_step(
    backend: Backend[Norm], task: Task, step: int, parts: Sequence[Batch], carry: Sequence[Carry]
) -> dict[str, Tensor]:
    """Let each player move once, in turn, against the others as they now stand.

    Returns detached tensors to be logged, `<player>/<metric>` where there are several players.
    """
    seen: dict[str, Tensor] = {}
    for player in task.turns(step):
        gradients, metrics = backend.gradients(player, parts, carry)
        # Reduce: one process has the gradients of the whole batch. Ranks would average theirs, and
        # the loss, here, so that all of them decide, clip and move alike.
        prefix = f"{player}/" if len(task.players) > 1 else ""
        seen |= {f"{prefix}{name}": value for name, value in metrics.items()}
        decided = backend.decide(player, metrics["loss"], gradients)
        if decided is None:
            break
        norm, seen[f"{prefix}grad_norm"] = decided
        backend.clip(gradients, norm)
        backend.apply(player, gradients)
    backend.finish()
    return seen


def train_step(state: TrainState, batch: Batch, settings: TrainerSettings) -> dict[str, Tensor]:
    """Make one step of a run by itself, on this batch.

    Raises NonFiniteError before anything is changed by the player whose numbers went wrong.
    """
    backend, parts, carry = _begun(state, batch, settings)
    return make_step(backend, state.task, state.step, parts, carry)


def refused_turn(
    state: TrainState, batch: Batch, settings: TrainerSettings, turn: int
) -> NonFiniteError:
    """The error for a turn of the step, by its number, computed once more: no player moves."""
    backend, parts, carry = _begun(state, batch, settings)
    for player in state.task.turns(state.step)[: turn + 1]:
        found, metrics = backend.gradients(player, parts, carry)
    return backend.refused(player, metrics["loss"], found)


def _begun(
    state: TrainState, batch: Batch, settings: TrainerSettings
) -> "tuple[_Eager, list[Batch], list[Carry]]":
    reseed_global(state.seed, "step", state.step, device=state.placement.device)
    parts = in_parts(batch, settings.accumulate)
    return _Eager(state, batch, settings), parts, [known(state.step, state.clock) for _ in parts]


class _Eager:
    """One step of a run whose numbers are read on the host: two decide whether a player moves."""

    def __init__(self, state: TrainState, batch: Batch, settings: TrainerSettings) -> None:
        self._state, self._batch, self._settings = state, batch, settings
        self._factor = state.schedule.factor(state.step) * state.recovery.lr_scale
        self._has_overflowed = False

    def gradients(
        self, player: str, parts: Sequence[Batch], carry: Sequence[Carry]
    ) -> tuple[list[Tensor], Metrics]:
        state = self._state
        parameters = state.optimizers[player].parameters
        return gradients(
            state.task, player, parameters, parts, carry, state.placement, state.scale.value
        )

    def decide(
        self, player: str, loss: Tensor, gradients: list[Tensor]
    ) -> tuple[float, Tensor] | None:
        scale, norm = self._state.scale, global_norm(gradients)
        if not math.isfinite(float(loss) + norm):
            if not (scale.is_dynamic and scale.value > 1):
                raise self.refused(player, loss, gradients)
            scale.overflowed()
            self._has_overflowed = True
            return None
        if scale.value != 1:
            torch._foreach_mul_(gradients, 1 / scale.value)
            norm /= scale.value
        return norm, torch.tensor(norm)

    def refused(self, player: str, loss: Tensor, gradients: Sequence[Tensor]) -> NonFiniteError:
        """The error for a move that is not made."""
        state, norm = self._state, global_norm(gradients)
        return refused_move(
            state.step, state.task, player, columns(self._batch), loss, gradients, norm
        )

    def clip(self, gradients: list[Tensor], norm: float) -> None:
        if self._settings.clip_norm is not None:
            clip_(gradients, norm, self._settings.clip_norm)

    def apply(self, player: str, gradients: list[Tensor]) -> None:
        self._state.optimizers[player].step(gradients, self._factor)

    def finish(self) -> None:
        state = self._state
        if not self._has_overflowed:
            state.scale.succeeded()
        if state.averaged is not None:
            state.averaged.update(state.step)


def known(step: int, clock: Clock) -> Carry:
    """What the first turn of a step is given: its number, and the share of the run that is done."""
    return {"step": step, "progress": step / clock.total_steps}


def in_parts(batch: Batch, num_parts: int) -> list[Batch]:
    """The batch in equal parts, for gradient accumulation."""
    if num_parts == 1:
        return [batch]
    targets = [None] * num_parts if batch.targets is None else batch.targets.chunk(num_parts)
    return [Batch(i, t) for i, t in zip(batch.inputs.chunk(num_parts), targets, strict=True)]


def columns(batch: Batch) -> dict[str, Tensor]:
    """The tensors of a batch, by name."""
    return {name: t for name, t in batch._asdict().items() if t is not None}

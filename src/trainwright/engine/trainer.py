"""The loop that trains everything, and the step in which each player moves once."""

import math
from collections.abc import Sequence
from inspect import GEN_CLOSED, getgeneratorstate

import torch
from torch import Tensor

from trainwright.data.batches import Batch, Batches
from trainwright.engine.fast.cuda_graph import OnDeviceSteps
from trainwright.engine.gradients import clip_, global_norm, gradients, in_parts
from trainwright.engine.hook import Hook
from trainwright.engine.interruption import CutShort, as_metrics, to_be_done
from trainwright.engine.moves import Metrics, Move, Outcome, Training
from trainwright.engine.nonfinite import refused_move
from trainwright.engine.settings import TrainerSettings
from trainwright.engine.skipping import skipping
from trainwright.engine.state import TrainState
from trainwright.seeds import reseed_global
from trainwright.tasks.task import Handed


def fit(
    state: TrainState, batches: Batches, hooks: Sequence[Hook], settings: TrainerSettings
) -> None:
    """Train from `state.step` to the end of the run, or until a hook or a signal asks to stop."""
    drive(fitting(state, batches, hooks, settings))


def drive(training: Training[Outcome]) -> Outcome:
    """Make each step that a training asks for, and return what it returns."""
    failure: BaseException | None = None
    on_device = OnDeviceSteps()
    while True:
        try:
            move = next(training) if failure is None else training.throw(failure)
            while True:
                metrics = on_device.make(move) if move.state.placement.static else None
                if metrics is None:
                    batch = move.batches.at(move.state.step)
                    metrics = train_step(move.state, batch, move.settings)
                move = training.send(metrics)
        except StopIteration as end:
            outcome: Outcome = end.value
            return outcome
        except BaseException as error:
            if getgeneratorstate(training) == GEN_CLOSED:  # its own, and it has ended with it
                raise
            failure = error


def fitting(
    state: TrainState, batches: Batches, hooks: Sequence[Hook], settings: TrainerSettings
) -> Training[None]:
    """What `fit` does, asking for each step instead of making it.

    A signal may cut an evaluation short; `state.to_be_done` then tells who goes on to begin there.
    """
    total = state.clock.total_steps
    move = Move(state, batches, settings)
    state.task.train()
    if state.to_be_done is not None:
        to_be_done, state.to_be_done = state.to_be_done, None
        seen = as_metrics(to_be_done)
        if not state.means.read():  # a checkpoint from before there were means
            state.means.add(seen)
        _call(hooks, state, seen)
    while state.step < total and state.stop_reason is None:
        if settings.on_nonfinite == "skip":
            metrics = yield from skipping(move)
        else:
            metrics = yield move
        state.step += 1
        state.means.add(metrics)
        _call(hooks, state, metrics)
    if state.unread is not None:
        state.unread.settle()


def _call(hooks: Sequence[Hook], state: TrainState, metrics: Metrics) -> None:
    """Call the hooks that are due; where a request to stop cuts one short, it does so first of all.

    (The hook that can be cut short, the evaluation, comes before all that leave a trace.)
    """
    total = state.clock.total_steps
    due = [hook for hook in hooks if hook.due(state.step, total)]
    if state.unread is not None and any(hook.always_looks for hook in due):
        state.unread.settle()
    try:
        for hook in due:
            hook(state, dict(metrics))
    except CutShort:
        state.to_be_done = to_be_done(metrics)


def train_step(state: TrainState, batch: Batch, settings: TrainerSettings) -> dict[str, Tensor]:
    """Each player moves once, in turn, against the others as they now stand.

    Returns detached tensors to be logged, `<player>/<metric>` where there are several players.
    Raises NonFiniteError before anything is changed by the player whose numbers went wrong.
    """
    reseed_global(state.seed, "step", state.step, device=state.placement.device)
    parts = in_parts(batch, settings.accumulate)
    progress = state.step / state.clock.total_steps
    handed: list[Handed] = [{"step": state.step, "progress": progress} for _ in parts]
    factor = state.schedule.factor(state.step) * state.recovery.lr_scale
    seen: dict[str, Tensor] = {}
    for player in state.task.turns(state.step):
        optimizer = state.optimizers[player]
        grads, metrics = gradients(
            state.task,
            player,
            optimizer.parameters,
            parts,
            handed,
            state.placement,
            state.scale.value,
        )
        norm = global_norm(grads)
        prefix = f"{player}/" if len(state.task.players) > 1 else ""

        # Two numbers decide whether this move is made.
        if not _is_finite(metrics["loss"], norm):
            if state.scale.is_dynamic and state.scale.value > 1:
                state.scale.overflowed()
                break
            raise refused_move(
                state.step, state.task, player, batch.inputs, metrics["loss"], grads, norm
            )
        if state.scale.value != 1:
            torch._foreach_mul_(grads, 1 / state.scale.value)
            norm = norm / state.scale.value
        seen |= {f"{prefix}{name}": value for name, value in metrics.items()}
        seen[f"{prefix}grad_norm"] = torch.tensor(norm)
        if settings.clip_norm is not None:
            clip_(grads, norm, settings.clip_norm)
        optimizer.step(grads, factor)
    else:
        state.scale.succeeded()
    if state.averaged is not None:
        state.averaged.update(state.step)
    return seen


def _is_finite(loss: Tensor, norm: float) -> bool:
    return math.isfinite(float(loss) + norm)

"""The loop that trains everything.

Training is a generator. It yields a `Move`, is sent what was seen in that step, and does all else
itself: it counts, calls hooks, saves. So who drives it decides how steps are made, alone (`drive`)
or with those of other runs (the package `stack`). An error of the step is thrown in where the step
was asked for.
"""

import logging
from collections.abc import Generator, Sequence
from inspect import GEN_CLOSED, getgeneratorstate
from typing import TYPE_CHECKING, TypeVar

from trainwright.data.batches import Batches
from trainwright.engine.hook import Hook
from trainwright.engine.interruption import CutShort, as_metrics, to_be_done
from trainwright.engine.settings import TrainerSettings
from trainwright.engine.state import Copies, TrainState
from trainwright.engine.step import Metrics, Move, train_step
from trainwright.errors import NonFiniteError

if TYPE_CHECKING:
    from trainwright.engine.fast.cuda_graph import OnDeviceSteps

log = logging.getLogger(__name__)

Outcome = TypeVar("Outcome")
Training = Generator[Move, Metrics, Outcome]


def fit(
    state: TrainState, batches: Batches, hooks: Sequence[Hook], settings: TrainerSettings
) -> None:
    """Train from `state.step` to the end of the run, or until a hook or a signal asks to stop."""
    drive(fitting(state, batches, hooks, settings))


def drive(training: Training[Outcome]) -> Outcome:
    """Make each step that a training asks for, and return what it returns."""
    failure: BaseException | None = None
    on_device: OnDeviceSteps | None = None
    while True:
        try:
            move = next(training) if failure is None else training.throw(failure)
            while True:
                metrics = None
                if move.state.placement.static:
                    on_device = on_device or _steps_on_device()
                    metrics = on_device.make(move)
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


def _steps_on_device() -> "OnDeviceSteps":
    from trainwright.engine.fast.cuda_graph import OnDeviceSteps

    return OnDeviceSteps()


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
    world = state.world
    _release(state)
    while state.step < total and state.stop_reason is None:
        if world.is_shared and world.leads:
            after = state.step + 1
            world.begin_step(listen=any(_asks(h, state) and h.due(after, total) for h in hooks))
        if settings.on_nonfinite == "skip":
            metrics = yield from _skipping(move)
        else:
            metrics = yield move
        state.step += 1
        state.means.add(metrics)
        _call(hooks, state, metrics)
        _release(state)
    if state.unread is not None:
        state.unread.settle()
    if world.is_shared:
        world.listening = True


def _asks(hook: Hook, state: TrainState) -> bool:
    """Whether a hook has something to say to the other ranks."""
    return not hook.is_rank_0s or (state.shards is not None and hook.reads_weights)


def _release(state: TrainState) -> None:
    """Let the other ranks go on with the next step, or stop."""
    state.world.release(stop=state.stop_reason is not None)
    if state.shards is not None:
        state.shards.close()


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


def _skipping(move: Move) -> Training[Metrics]:
    """Ask for a step that, where its numbers are not finite, changes nothing and is counted.

    It costs a copy of what a step changes before it can fail: the buffers, and every player that
    moves before the last. Raises NonFiniteError after `max_skips` such steps in a row.
    """
    state, settings = move.state, move.settings
    recovery = state.recovery
    movers = state.task.turns(state.step)[:-1]  # the last one's failure leaves it unmoved
    moved = [p for player in movers for p in state.optimizers[player].parameters]
    before = Copies([*state.task.buffers(), *moved])
    memories = {
        player: {k: v.clone() for k, v in state.optimizers[player].state_dict().items()}
        for player in movers
    }
    try:
        metrics = yield move
    except NonFiniteError as error:
        if recovery.skipped_in_a_row >= settings.max_skips:
            raise NonFiniteError(
                f"{error}\n  {recovery.skipped_in_a_row} batches in a row were skipped: "
                "trainer.max_skips"
            ) from error
        before.put_back()
        for player, memory in memories.items():
            state.optimizers[player].load_state_dict(memory)
        recovery.num_skipped += 1
        recovery.skipped_in_a_row += 1
        what = str(error).splitlines()[1].strip()
        log.warning("step %d skipped, %d so far: %s", state.step + 1, recovery.num_skipped, what)
        return {}
    recovery.skipped_in_a_row = 0
    return metrics

"""Leave out a batch whose numbers are not finite, and go on with the next."""

import logging

import torch

from trainwright.engine.moves import Metrics, Move, Training
from trainwright.engine.state import TrainState
from trainwright.errors import NonFiniteError

log = logging.getLogger(__name__)


def skipping(move: Move) -> Training[Metrics]:
    """Ask for a step that, where its numbers are not finite, changes nothing and is counted.

    It costs a copy of what a step changes before it can fail: the buffers, and every player that
    moves before the last. Raises NonFiniteError after `max_skips` such steps in a row.
    """
    state, settings = move.state, move.settings
    recovery = state.recovery
    before = _Before(state)
    try:
        metrics = yield move
    except NonFiniteError as error:
        if recovery.skipped_in_a_row >= settings.max_skips:
            raise NonFiniteError(
                f"{error}\n  {recovery.skipped_in_a_row} batches in a row were skipped: "
                "trainer.max_skips"
            ) from error
        before.put_back(state)
        recovery.num_skipped += 1
        recovery.skipped_in_a_row += 1
        what = str(error).splitlines()[1].strip()
        log.warning("step %d skipped, %d so far: %s", state.step + 1, recovery.num_skipped, what)
        return {}
    recovery.skipped_in_a_row = 0
    return metrics


class _Before:
    """What a step may have changed by the time it fails, as it was before."""

    @torch.no_grad()
    def __init__(self, state: TrainState) -> None:
        movers = state.task.turns(state.step)[:-1]  # the last one's failure leaves it unmoved
        self._tensors = list(state.task.buffers())
        for player in movers:
            self._tensors += state.optimizers[player].parameters
        self._values = [tensor.detach().clone() for tensor in self._tensors]
        self._memories = {
            player: {k: v.clone() for k, v in state.optimizers[player].state_dict().items()}
            for player in movers
        }

    @torch.no_grad()
    def put_back(self, state: TrainState) -> None:
        for tensor, value in zip(self._tensors, self._values, strict=True):
            tensor.copy_(value)
        for player, memory in self._memories.items():
            state.optimizers[player].load_state_dict(memory)

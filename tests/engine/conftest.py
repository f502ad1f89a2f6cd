"""What tests of several ways to make a step ask of each."""

from collections.abc import Callable

import pytest
import torch

from trainwright.engine.checkpoint import checkpoint
from trainwright.engine.hook import Hook
from trainwright.engine.state import TrainState
from trainwright.engine.trainer import fit
from trainwright.run.assemble.assemble import Assembly


class Stop(Hook):
    """Ends the training after one step."""

    def __init__(self, step: int) -> None:
        self._step = step

    def due(self, step, total):
        return step == self._step

    def __call__(self, state, metrics):
        state.stop_reason = "enough"


@pytest.fixture(scope="session")
def same_bits() -> Callable[[TrainState, TrainState], None]:
    """Assert that all tensors of two states are the same: weights, optimizers, averages."""

    def check(state: TrainState, other: TrainState) -> None:
        expected, found = checkpoint.state_tensors(state), checkpoint.state_tensors(other)
        assert expected.keys() == found.keys()
        assert [name for name in expected if not torch.equal(expected[name], found[name])] == []

    return check


@pytest.fixture(scope="session")
def in_two_parts() -> Callable[[Callable[[], Assembly], int], TrainState]:
    """Train a run up to a step, and from there to its end as another one; how that one ends."""

    def trained(make: Callable[[], Assembly], step: int) -> TrainState:
        first, second = make(), make()
        fit(first.state, first.train, [Stop(step)], first.settings)
        tensors = checkpoint.state_tensors(first.state)
        progress = checkpoint.progress_metadata(first.state)
        checkpoint.restore(second.state, tensors, progress)
        assert second.state.step == step
        fit(second.state, second.train, [], second.settings)
        return second.state

    return trained

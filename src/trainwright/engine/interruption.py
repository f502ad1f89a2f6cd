"""Work after a step that a request to stop may cut short, because it can be done again."""

import contextlib
from collections.abc import Iterator, Mapping

import torch
from torch import Tensor

from trainwright.engine.state import TrainState


class CutShort(BaseException):
    """A request to stop has come in the middle of what can be done again.

    No Exception, so that nothing on its way takes it for a failure and carries on.
    """


@contextlib.contextmanager
def can_be_cut_short(state: TrainState) -> Iterator[None]:
    """While this context is open a request to stop raises CutShort; at once if there is one.

    What is done here must change nothing that lasts until it is complete.
    """
    state.can_be_cut_short = True
    try:
        if state.stop_reason is not None:
            raise CutShort
        yield
    finally:
        state.can_be_cut_short = False


def to_be_done(metrics: Mapping[str, Tensor]) -> dict[str, float]:
    """A step's metrics as the numbers that its hooks read of them, to be saved."""
    return {name: float(value.mean()) for name, value in metrics.items()}


def as_metrics(numbers: Mapping[str, float]) -> dict[str, Tensor]:
    """What `to_be_done` has made numbers of, as hooks take it: the same to the bit."""
    return {name: torch.tensor(v, dtype=torch.float64) for name, v in numbers.items()}

"""What a run asks for while it trains: one step after another.

Training is a generator. It yields a `Move`, is sent what was seen in that step, and does all else
itself: it counts, calls hooks, saves. So who drives it decides how steps are made, alone
(`engine/trainer.py`) or with those of other runs (the package `stack`). An error of the step is
thrown in where the step was asked for.
"""

from collections.abc import Generator, Mapping
from typing import NamedTuple, TypeVar

from torch import Tensor

from trainwright.data.batches import Batches
from trainwright.engine.settings import TrainerSettings
from trainwright.engine.state import TrainState


class Move(NamedTuple):
    """A step that is to be made: step number `state.step`, on the batch of that number."""

    state: TrainState
    batches: Batches
    settings: TrainerSettings


Metrics = Mapping[str, Tensor]  # detached tensors to be logged, as `train_step` returns them
Outcome = TypeVar("Outcome")
Training = Generator[Move, Metrics, Outcome]

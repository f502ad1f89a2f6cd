"""The state of a run: (step, weights, optimizer state, averages, what hooks remember)."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

import torch
from torch import Tensor

from trainwright.data.batches import Batches
from trainwright.engine.clock import Clock
from trainwright.engine.device.device import Placement
from trainwright.engine.metrics.means import Means
from trainwright.engine.optim.averages import AveragedTask
from trainwright.engine.optim.player_optimizer import PlayerOptimizer
from trainwright.engine.optim.recovery import Recovery
from trainwright.engine.optim.scaling import LossScale
from trainwright.engine.ranks.world import ALONE, World
from trainwright.engine.schedule import Schedule
from trainwright.engine.settings import TrainerSettings
from trainwright.tasks.health import Health
from trainwright.tasks.task import Task

if TYPE_CHECKING:
    from trainwright.engine.private import Privacy
    from trainwright.engine.ranks.shards import Shards


class Copies:
    """What tensors hold, to be put back."""

    @torch.no_grad()
    def __init__(self, tensors: Iterable[Tensor]) -> None:
        self._copies = [(tensor, tensor.clone()) for tensor in tensors]

    @torch.no_grad()
    def put_back(self) -> None:
        """Let the tensors hold it again."""
        for tensor, copy in self._copies:
            tensor.copy_(copy)


@dataclass(frozen=True)
class Evaluation:
    """The metrics of the validation split after so many steps."""

    step: int
    metrics: dict[str, float]


class Unread(Protocol):
    """Steps whose numbers are still on the device."""

    def settle(self) -> None:
        """Read whether all went well; raises NonFiniteError where one did not."""


class Rounds(Protocol):
    """What makes the steps of a federated run: each is a round of clients."""

    @property
    def held_out(self) -> Sequence[Batches]:
        """Validation examples of each client that has any."""

    def step(self, state: "TrainState", settings: TrainerSettings) -> dict[str, Tensor]:
        """Make one round, and return what is to be logged."""


@dataclass
class TrainState:
    """All that changes while a run goes on, and the objects that hold it."""

    task: Task
    optimizers: dict[str, PlayerOptimizer]
    schedule: Schedule
    clock: Clock
    placement: Placement
    seed: int
    world: World = ALONE
    shards: "Shards | None" = None  # where each rank has a part of the weights
    averaged: AveragedTask | None = None
    privacy: "Privacy | None" = None
    rounds: Rounds | None = None
    scale: LossScale = field(default_factory=lambda: LossScale(False))
    recovery: Recovery = field(default_factory=Recovery)
    step: int = 0
    means: Means = field(default_factory=Means)  # of the metrics since the last line logged
    last: Evaluation | None = None
    best: Evaluation | None = None
    signs: dict[str, float] = field(default_factory=dict)  # of health, at the last evaluation
    noted: dict[str, float] = field(default_factory=dict)  # by hooks, for the next line of the log
    health: Health | None = None  # as diagnosed at the last evaluation of this process
    row: dict[str, Any] = field(default_factory=dict)  # of the log, as last written
    stop_reason: str | None = None  # set by a hook or a signal: the loop ends after this step
    can_be_cut_short: bool = False  # whether a signal may end what is being done right now
    # The metrics of a step whose hooks were not called, for the run was to stop: who goes on does.
    to_be_done: dict[str, float] | None = None
    unread: Unread | None = None  # asked before anyone looks at what the steps have come to

    @property
    def evaluated_task(self) -> Task:
        """The task to evaluate and sample with: with averaged weights where there are any."""
        return self.task if self.averaged is None else self.averaged.task

    def open(self) -> None:
        """Let this rank have all weights until the next step; the others must listen."""
        if self.shards is not None:
            self.shards.open()

    @property
    def epoch(self) -> float:
        """Passes over the training data so far."""
        return self.clock.epochs(self.step)

"""The contract between what is learned (a task) and how (the engine)."""

import math
from abc import ABC, abstractmethod
from collections.abc import Hashable, Mapping, Sequence
from typing import Any, ClassVar, Literal, NamedTuple

from torch import Tensor, nn

from trainwright.data.batches import Batch, Normalisation
from trainwright.score.judge import Judge
from trainwright.tasks.health import Health, Signs

# What the turns of one step hand on to each other (a GAN's fakes); it lives for that step. It
# begins with what the trainer knows: "step", and "progress", the share of the run that is done.
Handed = dict[str, Any]


class Objective(NamedTuple):
    """The validation metric by which checkpoints are ranked, and which way is better."""

    metric: str
    higher_is_better: bool

    @property
    def mode(self) -> str:
        """Which way is better, as configs have it."""
        return "max" if self.higher_is_better else "min"

    def is_better(self, value: float, than: float | None) -> bool:
        """Whether `value` beats `than`. What is not finite beats nothing, and is beaten by all."""
        if not math.isfinite(value):
            return False
        if than is None or not math.isfinite(than):
            return True
        return value > than if self.higher_is_better else value < than


class Task(nn.Module, ABC):
    """A game of one or more players, each a submodule that learns with its own optimizer.

    A classifier is the game of one player; a GAN has two that move in turn.
    """

    objective: Objective
    wants_fp32: ClassVar[bool] = False  # `precision=auto` must not choose fewer bits
    evaluated_examples: ClassVar[int | None] = None  # at most so many; None: the whole split
    # Whether `forward` is one mean loss by torch, and else treats each example by itself, whatever
    # the dimensions before it: a stack calls it once for the batches (K, B, ...) of K members.
    is_one_loss: ClassVar[bool] = False

    normalisation: Normalisation
    judge: Judge | None = None  # of what the task generates; given by who puts a run together

    @property
    @abstractmethod
    def players(self) -> Mapping[str, nn.Module]:
        """The modules that learn, by name, in the order of their turns."""

    def turns(self, step: int) -> tuple[str, ...]:
        """The players that move in this step, in order."""
        return tuple(self.players)

    def pattern(self, step: int) -> Hashable | None:
        """What `forward` makes of the number of a step and the share of the run that is done.

        Steps of the same players and pattern are computed alike, but for their batch and what is
        drawn: one is captured for all as a CUDA graph. None, as here, promises nothing: then a
        task whose `forward` looks at either is not captured.
        """
        return None

    @property
    def averaged_players(self) -> tuple[str, ...]:
        """The players whose averaged weights are worth keeping: those that evaluation uses."""
        return tuple(self.players)

    @property
    def compilable(self) -> Mapping[str, nn.Module]:
        """The modules that `trainer.compile` compiles, by name; each is called as a module."""
        return self.players

    @abstractmethod
    def forward(
        self, player: str, batch: Batch, handed: Handed
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the player's scalar loss on the batch, and detached tensors to be logged.

        Who logs them takes their mean, so a value per example is as good as a scalar.

        Pure but for `handed`: no optimizer, no logging, no read of a value.
        """

    @abstractmethod
    def evaluate(self, batch: Batch) -> dict[str, Tensor]:
        """Values per example, each (B, ...), from which `score` makes the metrics of a split."""

    @abstractmethod
    def score(self, values: dict[str, Tensor]) -> dict[str, float]:
        """The metrics of a split, from the values of all its examples, each (N, ...)."""

    def describe(self) -> str:
        """What was chosen for how it is learned where the config leaves that open, for a person."""
        return ""

    def vital_signs(self, values: dict[str, Tensor], scores: dict[str, float]) -> dict[str, float]:
        """What the values of a split, each (N, ...), and their scores say of the run's health."""
        return {}

    def diagnose(self, history: Sequence[Signs]) -> Health | None:
        """Say how the run is doing, from the vital signs of its evaluations so far, oldest first.

        None: this task has no opinion on that. Beside its own signs it is given the `objective`
        and the gradient norms of the training step before.
        """
        return None

    @property
    def score_features(self) -> "Literal['own'] | nn.Module | None":
        """Where the task generates: the network in whose features that is scored, or its own.

        A network maps images (B, C, H, W) in 0..1 to features (B, F). None: there is no score.
        """
        return None

    def be_judged_by(self, judge: Judge) -> None:
        """Score what the task generates by `judge` from now on, and rank checkpoints by that."""
        raise NotImplementedError(f"{type(self).__name__} has score_features, but no be_judged_by")

    def generate(self) -> dict[str, Tensor]:
        """What the task makes up for its judge, each (N, ...): more values for `score`."""
        return {}

    def showcase(self) -> Tensor | None:
        """Images (N, C, H, W) in [0, 1] that show how far learning is; None: there are none."""
        return None

    @property
    def showcase_columns(self) -> int:
        """How many of the showcase's images make a row."""
        return 8

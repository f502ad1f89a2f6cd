"""The contract between what is learned (a task) and how (the engine).

What a task cannot do it does not have: a task that predicts has `predict`, one that makes up
examples has `generate` and perhaps `interpolate`, one that other programs can use has `portable`.
Commands ask for these by name (`can`), and say in words what is missing.
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal, NamedTuple

from torch import Tensor, nn

from trainwright.data.columns import Column
from trainwright.data.dataset import Dataset
from trainwright.data.examples import Batch
from trainwright.report.plots.drawing import Drawing
from trainwright.score.judge import Judge
from trainwright.tasks.health import Health, Signs
from trainwright.tasks.metrics.metric import Answers, Measurement, Metric
from trainwright.tasks.show import Shown

# What the turns of one step carry on to each other (a GAN's fakes); it lives for that step. It
# begins with what the trainer knows: "step", and "progress", the share of the run that is done.
Carry = dict[str, Any]


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


@dataclass(frozen=True)
class Ending:
    """What a task has at hand at the end of a run: the test split, measured with the best weights.

    `rows` are those of metrics.jsonl. Pictures go to `plots`: by Pillow at once, or by matplotlib
    through `drawing`, which is None where no pictures are wanted.
    """

    dataset: Dataset
    metric: Metric  # the task's own, of the test split
    metrics: Mapping[str, float]  # what it has computed, and those that the config adds
    judge: Judge | None  # of the evaluations on the way
    rows: Sequence[Mapping[str, Any]]
    plots: Path
    drawing: Drawing | None
    seed: int


class Task(nn.Module, ABC):
    """A game of one or more players, each a submodule that learns with its own optimizer.

    A classifier is the game of one player; a GAN has two that move in turn.
    """

    objective: Objective
    columns: Mapping[str, Column]  # how its networks see those of the dataset that it uses
    wants_fp32: ClassVar[bool] = False  # `precision=auto` must not choose fewer bits
    evaluated_examples: ClassVar[int | None] = None  # at most so many; None: the whole split
    # Whether `forward` is one mean loss by torch, and else treats each example by itself, whatever
    # the dimensions before it: a stack calls it once for the batches (K, B, ...) of K members.
    is_one_loss: bool = False
    takes_mixed: ClassVar[bool] = False  # learns from a target between those of two
    mixes_examples: str = ""  # what makes the loss of an example depend on the others of its batch
    # Of a task that can be stacked, the attributes that may differ between the members: numbers by
    # which `forward` multiplies a loss, or that it gives to torch as `label_smoothing`.
    stackable_numbers: ClassVar[tuple[str, ...] | None] = None

    own_metrics: Mapping[str, Metric] = {}  # those that the config adds, by name
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
    def forward(self, player: str, batch: Batch, carry: Carry) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the player's scalar loss on the batch, and detached tensors to be logged.

        Who logs them takes their mean, so a value per example is as good as a scalar.

        Pure but for `carry`: no optimizer, no logging, no read of a value.
        """

    def weight_of(self, batch: Batch) -> Tensor | None:
        """By how much the loss of these examples weighs in that of a larger batch, 0-dim.

        None, as here: by how many they are, for the loss is a mean over examples. Where it is one
        over something else, such as tokens that are there, this is how many of these there are. So
        parts of a batch, and the ranks that share it, come to the loss of all of it.
        """
        return None

    @abstractmethod
    def evaluate(self, batch: Batch) -> Answers:
        """What is said of a batch, each (B, ...), from which metrics are made."""

    @abstractmethod
    def metrics(self) -> Metric:
        """A metric that has seen nothing yet, for one split."""

    def measurement(self) -> Measurement:
        """The task's own metric, and those that the config adds."""
        return Measurement(self.metrics(), self.own_metrics)

    @property
    def training_flops(self) -> float | None:
        """Floating-point operations that an example takes in a training step, where it knows."""
        return None

    @property
    def headline(self) -> Sequence[str]:
        """The metrics that no line about an evaluation lacks: the objective's, and the config's."""
        return (self.objective.metric, *self.own_metrics)

    @property
    def checked_network(self) -> tuple[nn.Module, int, tuple[str, ...]] | None:
        """A network, how many numbers it must answer an example with, and what it is given.

        Of one column it is given that, of several each by its name. None: any network will do.

        One of the user's own is tried on two examples before a run begins.
        """
        return None

    def describe(self) -> str:
        """What was chosen for how it is learned where the config leaves that open, for a person."""
        return ""

    def diagnose(self, history: Sequence[Signs]) -> Health | None:
        """Say how the run is doing, from the vital signs of its evaluations so far, oldest first.

        None: this task has no opinion on that. Beside its metric's signs it is given the
        `objective` and the gradient norms of the training step before.
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

    def showcase(self) -> Shown | None:
        """Images, text or a table that show how far learning is; None: there is nothing to show."""
        return None

    def details(self, metric: Metric, metrics: Mapping[str, float]) -> dict[str, Any]:
        """More about a split than numbers, as plain JSON types; `score`: of what was generated."""
        return {}

    def finish(self, ending: Ending) -> dict[str, Any]:
        """Draw what there is to see at the end; return more for the summary, as plain JSON types.

        Raises OSError where a picture cannot be written.
        """
        return {}


def can(task: Task, ability: str) -> bool:
    """Whether a task has a method of that name, such as `predict` or `generate`."""
    return callable(getattr(task, ability, None))


def kind_of(task: Task) -> str:
    """What a task is, in a word for a message: `classifier`, `GAN`, `vae`, `NextToken`."""
    ours = type(task).__module__.removeprefix("trainwright.tasks.").partition(".")
    if ours[2] == "task" and ours[0] != "gan":  # which one chooses by the name of its folder
        return ours[0]
    name = type(task).__name__.removesuffix("Task")
    return name.lower() if name.istitle() else name

"""A learning rate, by a sweep over all that could be (Smith 2017, arXiv:1506.01186).

Each step of a short training has a rate that is a little higher than the one before. The loss
falls while rates are high enough to learn and low enough not to diverge; where it falls is a rate
to train with.
"""

import contextlib
import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from torch import Tensor

from trainwright.config.plan import Plan
from trainwright.engine.clock import Clock
from trainwright.engine.hook import Hook
from trainwright.engine.schedule import Schedule
from trainwright.engine.state import TrainState
from trainwright.engine.trainer import fit
from trainwright.errors import ConfigError, NonFiniteError
from trainwright.progress import Activity, under_way
from trainwright.run.assemble.assemble import assemble
from trainwright.tasks.task import kind_of

LOWEST, HIGHEST, STEPS = 1e-7, 10.0, 100  # as fastai has them
SMOOTHING = 0.98  # weight of the past in the loss, as fastai and Lightning have it
DIVERGED = 4.0  # times the lowest loss so far, and it ends
LEFT_OUT = 5  # of the last steps: there the loss is on its way up
LEAST_FALL = 0.05  # of the loss, or no rate has learned anything


@dataclass
class Swept:
    """The smoothed loss at each rate, from low to high, and what the two readings propose."""

    base: float  # the rate that the config has
    rates: list[float] = field(default_factory=list)
    losses: list[float] = field(default_factory=list)

    @property
    def counted(self) -> tuple[list[float], list[float]]:
        """What a proposal is read from: without the first tenth, and without the end."""
        first, end = STEPS // 10, len(self.rates) - LEFT_OUT
        return self.rates[first:end], self.losses[first:end]

    @property
    def valley(self) -> float:
        """Half way down the longest valley, as fastai proposes: the safer one."""
        rates, losses = self.counted
        return rates[valley(losses)]

    @property
    def steepest(self) -> float:
        """Where the loss falls fastest over the logarithm of the rate, as Lightning proposes."""
        rates, losses = self.counted
        return rates[steepest(losses)]


def steepest(losses: Sequence[float]) -> int:
    """Where a curve falls fastest, by central differences."""
    ends = [(max(i - 1, 0), min(i + 1, len(losses) - 1)) for i in range(len(losses))]
    slopes = [(losses[b] - losses[a]) / (b - a) for a, b in ends]
    return slopes.index(min(slopes))


def valley(losses: Sequence[float]) -> int:
    """Half of the way through the longest sequence of falling losses, which may leave some out.

    Of several of one length the first. Its last loss is its end, its length its width.
    """
    longest = [1] * len(losses)
    for i, j in itertools.combinations(range(len(losses)), 2):  # in the order of i, then j
        if losses[j] < losses[i]:
            longest[j] = max(longest[j], longest[i] + 1)
    length = max(longest)
    begin = longest.index(length) - length
    return max(0, begin + int(length / 3) + int(length / 6))


def sweep_rates(plan: Plan) -> Swept:
    """Train with ever higher rates, up to the end or until the loss diverges; nothing is kept.

    Raises ConfigError for a plan without one loss that falls as it learns, and where none has
    fallen; and as `assemble` does.
    """
    settings = replace(plan.settings, on_nonfinite="stop", score_samples=0, ema=None)
    assembly = assemble(replace(plan, settings=settings))
    state = assembly.state
    if len(state.optimizers) > 1:
        raise ConfigError(
            f"the losses of a {kind_of(state.task)}'s players ({', '.join(state.optimizers)}) "
            "do not fall as these learn, so they show no learning rate\n"
            "  compare some instead: train -m ... optimizer.lr=1e-4,2e-4,4e-4"
        )
    (optimizer,) = state.optimizers.values()
    if optimizer.base_lrs[0] <= 0:
        raise ConfigError("optimizer.lr=0: a learning rate is found as a multiple of it")
    swept = Swept(optimizer.base_lrs[0])
    state.clock = replace(state.clock, total_steps=STEPS, first_step=0)
    state.schedule = _Rising(clock=state.clock, base=swept.base)
    diverges = contextlib.suppress(NonFiniteError)
    with under_way("learning rate", STEPS, "steps") as activity, diverges:
        fit(state, assembly.train, [_Watch(swept, activity)], settings)
    _check(swept)
    return swept


def _check(swept: Swept) -> None:
    if len(swept.rates) < STEPS // 10 + LEFT_OUT + 3:
        last = swept.rates[-1] if swept.rates else LOWEST
        raise ConfigError(
            f"the loss diverges at a learning rate of {last:.1e} already\n"
            "  check the data, the loss and the initialisation"
        )
    _, losses = swept.counted
    if min(losses) > losses[0] - LEAST_FALL * abs(losses[0]):
        raise ConfigError(
            f"the loss falls at no learning rate from {LOWEST:g} to {swept.rates[-1]:.2g}: "
            f"it is {losses[0]:.4g} at first, and {min(losses):.4g} at best\n"
            "  check the data and the network, or try larger batches: trainer.batch_size=..."
        )


class _Rising(Schedule):
    """From the lowest rate to the highest in equal ratios, whatever the optimizer's own is."""

    def __init__(self, *, clock: Clock, base: float) -> None:
        super().__init__(clock=clock)
        self._base = base

    def shape(self, progress: float, step: float) -> float:
        """`step` of `STEPS`, the last of which has the highest rate."""
        return LOWEST * math.pow(HIGHEST / LOWEST, step / (STEPS - 1)) / self._base


class _Watch(Hook):
    """Keeps the smoothed loss of every step, and ends the training where it diverges."""

    def __init__(self, swept: Swept, activity: Activity) -> None:
        self._swept, self._activity = swept, activity
        self._mean = 0.0

    def due(self, step: int, total: int) -> bool:
        """Always."""
        return True

    def __call__(self, state: TrainState, metrics: dict[str, Tensor]) -> None:
        """Read the loss of the step."""
        self._activity.advance()
        (optimizer,) = state.optimizers.values()
        self._mean = SMOOTHING * self._mean + (1 - SMOOTHING) * float(metrics["loss"])
        loss = self._mean / (1 - SMOOTHING**state.step)  # as if the past had begun like this
        lowest = min(self._swept.losses, default=math.inf)
        if state.step > 1 and loss > lowest + (DIVERGED - 1) * abs(lowest):
            state.stop_reason = "diverged"
            return
        self._swept.rates.append(optimizer.learning_rate)
        self._swept.losses.append(loss)

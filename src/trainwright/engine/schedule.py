"""The learning rate through a run, as a factor on each optimizer's own `lr`.

All but `Plateau` are pure functions of the step, so resuming cannot step them twice. Each has a
linear warm-up. The shapes are those of torch.optim.lr_scheduler, per step instead of per epoch;
what has an end (`final`) above 0 is there in the last step. (In 0.1 it was in the step after: a run
that began so keeps its course.)
"""

import math
from abc import ABC, abstractmethod
from typing import Any, Literal

from trainwright.engine.clock import Clock, Duration


class Schedule(ABC):
    """A factor on the learning rate, after `warmup` has brought it up from near 0."""

    def __init__(self, *, clock: Clock, warmup: Duration = 0) -> None:
        self.clock = clock
        self.ends_in_last_step = True
        self.warmup_steps = clock.steps(warmup)
        if self.warmup_steps >= clock.total_steps:
            raise ValueError(
                f"warmup={warmup} is not shorter than the whole run; a share such as 5% always is\n"
                f"  it is {self.warmup_steps:.0f} steps, and the run is {clock.total_steps}"
            )

    def factor(self, step: int) -> float:
        """The factor for the step that comes after `step` steps.

        Before the clock's first step it is that of the first; after the last, `progress` stays 1.
        """
        step = max(0, step - self.clock.first_step)
        if step < self.warmup_steps:
            return (step + 1) / (self.warmup_steps + 1) * self.shape(0.0, 0)
        done = step - self.warmup_steps
        # An end at 0 comes after the last step, which would move nothing.
        is_last = self.ends_in_last_step and getattr(self, "final", 0) != 0
        span = self.clock.total_steps - self.warmup_steps - is_last
        return self.shape(min(1.0, done / span) if span > 0 else float(done > 0), done)

    @abstractmethod
    def shape(self, progress: float, step: float) -> float:
        """The factor after the warm-up: `progress` in 0..1 of what remains, `step` in steps."""

    def observe(self, value: float) -> None:  # noqa: B027 - most have no use for it
        """Take note of the objective of an evaluation."""

    def state_dict(self) -> dict[str, Any]:
        """What a schedule has to remember: for most, where it ends."""
        return {"ends_in_last_step": 1} if self.ends_in_last_step else {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore what `state_dict` gave; of 0.1, nothing."""
        if unknown := state.keys() - {"ends_in_last_step"}:
            raise ValueError(f"this schedule does not remember {', '.join(unknown)}")
        self.ends_in_last_step = "ends_in_last_step" in state


class Constant(Schedule):
    """The optimizer's `lr` throughout."""

    def shape(self, progress: float, step: float) -> float:
        """Return 1."""
        return 1.0


class Linear(Schedule):
    """1 for the share `hold` of the run, then a straight line to `final`."""

    def __init__(
        self, *, clock: Clock, warmup: Duration = 0, hold: float = 0.0, final: float = 0.0
    ) -> None:
        super().__init__(clock=clock, warmup=warmup)
        _check_not_negative(final=final)
        if not 0 <= hold < 1:
            raise ValueError(f"hold={hold} is not a share from 0 to less than 1")
        self.hold, self.final = hold, final

    def shape(self, progress: float, step: float) -> float:
        """Return the line's height at `progress`."""
        done = max(0.0, (progress - self.hold) / (1 - self.hold))
        return 1 + (self.final - 1) * done


class Cosine(Schedule):
    """Half a cosine from 1 to `final` (Loshchilov & Hutter 2017, arXiv:1608.03983)."""

    def __init__(self, *, clock: Clock, warmup: Duration = 0, final: float = 0.0) -> None:
        super().__init__(clock=clock, warmup=warmup)
        _check_not_negative(final=final)
        self.final = final

    def shape(self, progress: float, step: float) -> float:
        """Return the cosine's height at `progress`."""
        return self.final + (1 - self.final) * (1 + math.cos(math.pi * progress)) / 2


class Step(Schedule):
    """Times `gamma` after every `every` (steps, epochs or a share of the run)."""

    def __init__(
        self, *, clock: Clock, warmup: Duration = 0, every: Duration = "30%", gamma: float = 0.1
    ) -> None:
        super().__init__(clock=clock, warmup=warmup)
        self.every = clock.steps(every)
        if self.every <= 0:
            raise ValueError(f"every={every} is not a positive duration")
        if gamma <= 0:
            raise ValueError(f"gamma={gamma} is not above 0")
        self.gamma = gamma

    def shape(self, progress: float, step: float) -> float:
        """Return `gamma` to the number of drops so far."""
        return float(self.gamma ** math.floor(step / self.every + 1e-9))


class Exponential(Schedule):
    """Times `gamma` an epoch, smoothly."""

    def __init__(self, *, clock: Clock, warmup: Duration = 0, gamma: float = 0.9) -> None:
        super().__init__(clock=clock, warmup=warmup)
        if gamma <= 0:
            raise ValueError(f"gamma={gamma} is not above 0")
        self.gamma = gamma

    def shape(self, progress: float, step: float) -> float:
        """Return `gamma` to the number of epochs so far."""
        return float(self.gamma ** (step / self.clock.steps_per_epoch))


class OneCycle(Schedule):
    """Up from 1/`start_div` to 1 during `rise`, down to 1/`final_div`, both along a cosine.

    Smith & Topin 2018 (arXiv:1708.07120); the numbers are those of torch's OneCycleLR, with
    `final_div` counted from the peak.
    """

    def __init__(
        self,
        *,
        clock: Clock,
        warmup: Duration = 0,
        rise: float = 0.3,
        start_div: float = 25.0,
        final_div: float = 1e4,
    ) -> None:
        super().__init__(clock=clock, warmup=warmup)
        if not 0 < rise < 1:
            raise ValueError(f"rise={rise} is not a share between 0 and 1")
        if start_div < 1 or final_div < 1:
            raise ValueError("start_div and final_div divide the peak: they must be at least 1")
        self.rise, self.start, self.final = rise, 1 / start_div, 1 / final_div

    def shape(self, progress: float, step: float) -> float:
        """Return the height on the way up, or down, at `progress`."""
        peak = self._peak
        if progress < peak:
            low, share = self.start, 1 - progress / peak
        else:
            low, share = self.final, (progress - peak) / (1 - peak)
        return low + (1 - low) * (1 + math.cos(math.pi * share)) / 2

    @property
    def _peak(self) -> float:
        """Where it is highest: in the last step of the rise, as torch has it."""
        if not self.ends_in_last_step:
            return self.rise
        steps = self.clock.total_steps - self.warmup_steps
        return max(0.0, (self.rise * steps - 1) / max(1.0, steps - 1))


class Plateau(Schedule):
    """Times `gamma` when the objective has not improved for `patience` evaluations.

    As torch's ReduceLROnPlateau with an absolute threshold of 0.
    """

    def __init__(
        self,
        *,
        clock: Clock,
        mode: Literal["min", "max"],
        warmup: Duration = 0,
        gamma: float = 0.3,
        patience: int = 2,
        final: float = 0.0,
    ) -> None:
        super().__init__(clock=clock, warmup=warmup)
        if not 0 < gamma < 1:
            raise ValueError(f"gamma={gamma} is not between 0 and 1")
        _check_not_negative(final=final, patience=patience)
        self.mode, self.gamma, self.patience, self.final = mode, gamma, patience, final
        self._factor = 1.0
        self._best: float | None = None
        self._num_bad = 0

    def shape(self, progress: float, step: float) -> float:
        """Return the factor as the evaluations so far have left it."""
        return self._factor

    def observe(self, value: float) -> None:
        """Count evaluations without improvement, and drop when there are too many."""
        sign = 1 if self.mode == "max" else -1
        is_number = math.isfinite(value)  # NaN is no improvement, whatever came before
        if is_number and (self._best is None or sign * value > sign * self._best):
            self._best, self._num_bad = value, 0
            return
        self._num_bad += 1
        if self._num_bad > self.patience:
            self._factor, self._num_bad = max(self._factor * self.gamma, self.final), 0

    def state_dict(self) -> dict[str, Any]:
        """The factor, the best value and how many evaluations have not beaten it."""
        return {"factor": self._factor, "best": self._best, "num_bad": self._num_bad}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore what `state_dict` gave."""
        best = state["best"]
        self._factor, self._num_bad = float(state["factor"]), int(state["num_bad"])
        self._best = None if best is None else float(best)


def _check_not_negative(**values: float) -> None:
    for name, value in values.items():
        if value < 0:
            raise ValueError(f"{name}={value} is below 0")

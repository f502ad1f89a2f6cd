"""Durations: written as steps, epochs, examples or a share of the run, they become steps once."""

import math
import re
from dataclasses import dataclass

Duration = int | str

WITHOUT_TOKENS = "only text has tokens; count in epochs, examples or steps"
_FORM = re.compile(r"\s*(\d+(?:\.\d+)?|\.\d+)\s*(%|steps?|epochs?|examples?|tokens?)?\s*")


@dataclass(frozen=True)
class Clock:
    """Converts durations for one run: how many examples an epoch has, and a step takes."""

    num_examples: int
    batch_size: int
    total_steps: int
    first_step: int = 0  # not 0 for a schedule that begins later than its run
    num_tokens: int = 0  # of an example, where it is text

    @classmethod
    def of_run(
        cls,
        *,
        num_examples: int,
        batch_size: int,
        epochs: float | None,
        steps: int | None,
        tokens: float | None = None,
        num_tokens: int = 0,
    ) -> "Clock":
        """The clock of a run of so many `steps`, else `tokens`, else `epochs`.

        `num_tokens`: of an example. Raises ValueError for `tokens` of examples that have none.
        """
        if steps is None:
            if tokens is not None:
                if not num_tokens:
                    raise ValueError(f"tokens={tokens:g}: {WITHOUT_TOKENS}")
                wanted = tokens / num_tokens / batch_size
            else:
                assert epochs is not None
                wanted = epochs * num_examples / batch_size
            # The tolerance keeps 1.1 * 100 from counting as a hair more than 110.
            steps = max(1, math.ceil(wanted - 1e-9))
        return cls(num_examples, batch_size, steps, num_tokens=num_tokens)

    @property
    def steps_per_epoch(self) -> float:
        """Batches in one pass over the data. Fractional: batches run on across epochs."""
        return self.num_examples / self.batch_size

    def epochs(self, step: int) -> float:
        """How many passes over the data `step` steps are."""
        return step / self.steps_per_epoch

    def steps(self, duration: Duration) -> float:
        """A duration in steps: `500`, `500 steps`, `2 epochs`, `10000 examples`, of text
        `1000000 tokens`, or `5%`.

        Fractional, so that the k-th epoch ends on the right step (see `is_multiple`).
        Raises ValueError if it is not of that form, or of tokens where there are none.
        """
        form = _FORM.fullmatch(str(duration))
        if form is None:
            raise ValueError(
                f"{duration!r} is not a duration: write 500, '2 epochs', '10000 examples' or 5%"
            )
        number, unit = float(form[1]), (form[2] or "steps").rstrip("s")
        if unit == "token" and not self.num_tokens:
            raise ValueError(f"{duration!r}: {WITHOUT_TOKENS}")
        per_unit = {
            "step": 1.0,
            "epoch": self.steps_per_epoch,
            "example": 1 / self.batch_size,
            "token": 1 / (self.batch_size * max(1, self.num_tokens)),
            "%": self.total_steps / 100,
        }
        return number * per_unit[unit]


def is_multiple(step: int, every: float) -> bool:
    """Whether a multiple of `every` steps (rounded up) falls on `step`; never for `every` <= 0.

    With 937.5 steps an epoch, epochs end on steps 938, 1875, 2813, ...
    """
    if every <= 0:
        return False
    every = max(every, 1.0)
    # How many multiples are behind `step`; the tolerance forgives a share rounded a hair down.
    return math.floor(step / every + 1e-9) != math.floor((step - 1) / every + 1e-9)

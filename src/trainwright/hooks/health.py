"""Ask the task at every evaluation how the run is doing, and say so in words."""

import logging
from typing import Any, Literal

from torch import Tensor

from trainwright.engine.hook import Regular
from trainwright.engine.state import TrainState
from trainwright.errors import IllError
from trainwright.tasks.health import HEALTHY, SOUND

log = logging.getLogger(__name__)

MEMORY = 20  # evaluations that a diagnosis looks back on, besides the first

OnIll = Literal["warn", "stop", "rollback"]


class HealthCheck(Regular):
    """Keeps the vital signs of the evaluations and has the task diagnose them.

    The verdict is said at every evaluation, with reasons where an illness is new. With
    `on_ill=stop` an illness ends the run; with `rollback` it raises IllError, and who trains goes
    back. It comes after the hook that evaluates and before those that write anything.
    """

    _remembered = ("history", "said", "course")

    def __init__(self, *, every: float, on_ill: OnIll) -> None:
        super().__init__(every)
        self._on_ill = on_ill
        self._history: list[dict[str, float]] = []
        self._said = HEALTHY
        self._course: dict[str, list[int]] = {}

    @property
    def course(self) -> dict[str, list[int]]:
        """At which steps an evaluation has found the run to be what: `healthy`, `collapsing`."""
        return self._course

    def __call__(self, state: TrainState, metrics: dict[str, Tensor]) -> None:
        """Set `state.health`; warn of what is new, stop, or raise IllError."""
        assert state.last is not None
        norms = {n: float(v.mean()) for n, v in metrics.items() if n.endswith("grad_norm")}
        objective = state.last.metrics[state.task.objective.metric]
        self._history.append({**state.signs, **norms, "objective": objective})
        self._history = self._history[:1] + self._history[1:][-MEMORY:]
        state.health = health = state.task.diagnose(self._history)
        if health is None:
            return
        words = str(health)
        self._course.setdefault(words, []).append(state.step)
        was_ill = self._said not in SOUND
        if not health.is_ill or words == self._said:
            log.info("health: %s%s", words, " again" if was_ill and words == HEALTHY else "")
        else:
            for ailment in health.ailments:
                log.warning("health: %s: %s", ailment.name, ailment.because)
                log.warning("  what helps: %s", ailment.remedy)
        self._said = words
        if health.is_ill and self._on_ill == "stop":
            state.stop_reason = f"the run is ill: {words} (trainer.on_ill=stop)"
            log.info("stopping early: %s", state.stop_reason)
        if health.is_ill and self._on_ill == "rollback":
            state.health = None
            raise IllError(f"the run is ill at step {state.step}: {words}")

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore what `state_dict` gave; of a run from before there was a diagnosis, nothing."""
        super().load_state_dict({"history": [], "said": HEALTHY, "course": {}} | state)

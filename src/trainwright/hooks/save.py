"""Checkpoints along the way: `last`, and the best by the objective, one or several."""

import itertools
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

from torch import Tensor

from trainwright.engine.checkpoint import checkpoint
from trainwright.engine.checkpoint.several import kept
from trainwright.engine.device.environment import THREADS_NEXT
from trainwright.engine.hook import Hook, Regular, due_every
from trainwright.engine.state import TrainState
from trainwright.files import flush
from trainwright.hooks.crowded import Crowded
from trainwright.runs.folder import RunFolder
from trainwright.streams import tell


class Legs(Protocol):
    """How long the run has been trained."""

    def told(self, step: int) -> list[dict[str, Any]]:
        """All legs up to this step and now, as plain JSON types."""


class Save(Regular):
    """Saves everything a run needs to go on, and the facts to use it without its dataset.

    `facts` (config, data, versions) go into every checkpoint; `hooks` are those with a memory.
    Where it is `crowded`, a run goes on with fewer threads from a save on, which says so.
    `step_of_last` is that of the `last` checkpoint there is, if the run goes on from it, and
    `step_of_best` that of the best. `keep`: how many of the best are kept.
    Comes last among the hooks, so that it finds their state as the step has left it, and with every
    evaluation, which may find a new best.
    """

    is_rank_0s = True
    reads_weights = True

    def __init__(
        self,
        folder: RunFolder,
        facts: dict[str, Any],
        hooks: Sequence[Hook],
        legs: Legs | None = None,
        *,
        every: float,
        evaluate_every: float,
        step_of_last: int | None = None,
        step_of_best: int | None = None,
        keep: int = 1,
        crowded: Crowded | None = None,
    ) -> None:
        super().__init__(every, evaluate_every)
        self._folder = folder
        self._facts = facts
        self._hooks = hooks
        self._legs = legs
        self._crowded = crowded
        self._save_every = every
        self._step_of_last = step_of_last
        self._step_of_best = step_of_best
        self._keep = keep

    def __call__(self, state: TrainState, metrics: dict[str, Tensor]) -> None:
        """Save `last` if its time has come, and this step if its evaluation is among the best."""
        self.save(state, last=due_every(self._save_every, state.step, state.clock.total_steps))

    def save(self, state: TrainState, *, last: bool = True) -> None:
        """Save `best` if it is this step, or if nothing is ever evaluated; and `last` if asked.

        `last` knows which step is the best, so that one must be there first. What was `last` so
        far is kept as `previous`, and what was the best as the second, if so many are kept.
        """
        paths, kept_as = [], {}
        if (place := self._place(state)) is not None:
            paths.append(self._folder.best_of(place))
            kept_as = self._moved_down(state, place)
        if last:
            paths.append(self._folder.last)
            if self._step_of_last not in (None, state.step):
                kept_as[self._folder.last] = self._folder.previous
        if not paths:
            return
        metadata = {
            **self._facts,
            "legs": [] if self._legs is None else self._legs.told(state.step),
            "progress": checkpoint.progress_metadata(state),
            "hooks": {hook.name: hook.state_dict() for hook in self._hooks},
        }
        crowded = self._crowded if last and state.step < state.clock.total_steps else None
        if crowded is not None and crowded.wanted is not None:
            metadata[THREADS_NEXT] = crowded.wanted
        # The log must not be behind the checkpoint that it belongs to.
        if self._folder.metrics.exists():
            flush(self._folder.metrics)
        checkpoint.save(paths, checkpoint.state_tensors(state), metadata, kept_as=kept_as)
        files = [str(path.relative_to(self._folder.path)) for path in paths]
        tell("save", step=state.step, files=files)
        self._step_of_best = None if state.best is None else state.best.step
        if last:
            self._step_of_last = state.step
        if crowded is not None and THREADS_NEXT in metadata:
            crowded.lower(state)
            threads = str(state.placement.threads)
            self._facts["environment"] = {**self._facts["environment"], "threads": threads}
            self._facts["placement"] = state.placement.describe()

    def _place(self, state: TrainState) -> int | None:
        """Where this step stands among the best that are kept, from 1; None where it does not."""
        if state.best is None or state.best.step == state.step:
            return 1
        if self._keep == 1 or state.last is None or state.last.step != state.step:
            return None
        objective = state.task.objective
        others = kept(self._folder)
        for place in range(2, self._keep + 1):
            other = others.get(place)
            than = None if other is None else other.metrics.get(objective.metric)
            is_again = other is not None and other.step == state.step
            if is_again or objective.is_better(state.last.metrics[objective.metric], than):
                return place
        return None

    def _moved_down(self, state: TrainState, place: int) -> dict[Path, Path]:
        """Which of the best so far is kept under which name, when this step takes such a place."""
        if self._keep == 1:
            return {}
        others = kept(self._folder)
        there = others.get(place)
        is_of_now = place > 1 or (there is not None and there.step == self._step_of_best)
        if there is None or there.step >= state.step or not is_of_now:
            return {}
        names = [self._folder.best_of(number) for number in range(place, self._keep + 1)]
        return dict(itertools.pairwise(names))

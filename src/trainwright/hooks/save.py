"""Checkpoints along the way: `last`, and `best` when the objective has improved."""

from collections.abc import Sequence
from typing import Any

from torch import Tensor

from trainwright.engine import checkpoint
from trainwright.engine.hook import Hook, due_every
from trainwright.engine.state import TrainState
from trainwright.runfolder import RunFolder


class Save(Hook):
    """Saves everything a run needs to go on, and the facts to use it without its dataset.

    `facts` (config, data, versions) go into every checkpoint; `hooks` are those with a memory.
    Comes last among the hooks, so that it finds their state as the step has left it.
    """

    def __init__(
        self,
        folder: RunFolder,
        facts: dict[str, Any],
        hooks: Sequence[Hook],
        *,
        every: float,
        evaluate_every: float,
    ) -> None:
        self._folder = folder
        self._facts = facts
        self._hooks = hooks
        self._every = every
        self._evaluate_every = evaluate_every

    def due(self, step: int, total: int) -> bool:
        """At its cadence and at the end, and with evaluations, which may find a new best."""
        return any(due_every(e, step, total) for e in (self._every, self._evaluate_every))

    def __call__(self, state: TrainState, metrics: dict[str, Tensor]) -> None:
        """Save `last` if its time has come, and `best` if this step has the best evaluation."""
        self.save(state, last=due_every(self._every, state.step, state.clock.total_steps))

    def save(self, state: TrainState, *, last: bool = True) -> None:
        """Save `best` if it is this step, or if nothing is ever evaluated; and `last` if asked."""
        paths = [self._folder.last] if last else []
        if state.best is None or state.best.step == state.step:
            paths.append(self._folder.best)
        if not paths:
            return
        metadata = {
            **self._facts,
            "progress": checkpoint.progress_metadata(state),
            "hooks": {type(hook).__name__: hook.state_dict() for hook in self._hooks},
        }
        checkpoint.save(paths, checkpoint.state_tensors(state), metadata)

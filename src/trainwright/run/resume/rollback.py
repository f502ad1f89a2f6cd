"""Back to the last good checkpoint with a lower learning rate, instead of the end of a run."""

import logging
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

from trainwright.engine.checkpoint import checkpoint
from trainwright.engine.checkpoint.several import best_paths
from trainwright.engine.hook import Hook
from trainwright.engine.settings import TrainerSettings
from trainwright.engine.state import TrainState
from trainwright.engine.trainer import Training
from trainwright.errors import CheckpointError, IllError, NonFiniteError, TrainwrightError
from trainwright.hooks.save import Save
from trainwright.run.resume.recover import go_back_to, mend_best, read
from trainwright.runs.folder import RunFolder
from trainwright.tasks.health import HEALTHY, SOUND

log = logging.getLogger(__name__)


class Rollback:
    """Puts a run back to one of its checkpoints, a limited number of times.

    The checkpoint is saved anew with the lower learning rate and the count, so that a run that is
    killed after a rollback goes on as it would have. `hooks` are those that remember something.
    `share` lets other ranks be where this one is.
    """

    def __init__(
        self,
        state: TrainState,
        hooks: Sequence[Hook],
        folder: RunFolder,
        save: Save,
        settings: TrainerSettings,
        share: Callable[[], None] = lambda: None,
    ) -> None:
        self._share = share
        self._state = state
        self._hooks = hooks
        self._folder = folder
        self._save = save
        self._settings = settings

    def fit(self, train: Callable[[], Training[None]]) -> Training[None]:
        """Train; with `on_nonfinite` or `on_ill=rollback` go back and train again.

        Raises NonFiniteError that names the last good checkpoint, and IllError.
        """
        goes_back = self._settings.on_nonfinite == "rollback"
        if "rollback" in (self._settings.on_nonfinite, self._settings.on_ill) and (
            not self._folder.last.exists()
        ):
            self._save.save(self._state)  # so that there is always a way back
        while True:
            try:
                yield from train()
                return
            except NonFiniteError as error:
                good = good_checkpoints(self._folder)
                if not goes_back:
                    raise NonFiniteError(f"{error}\n  {_described(good)}") from error
                self.back(error, good)
            except IllError as error:
                self.back(error, healthy_checkpoints(self._folder))

    def back(self, error: TrainwrightError, good: Sequence["Good"]) -> None:
        """Put the run back to the first of the checkpoints `good`, and lower the learning rate.

        Where the run went wrong again after going back to that one, its numbers were finite but
        already on their way: then to the next. What was logged and drawn since is removed. Raises
        `error`, the reason for going back, when the limit is reached or there is no checkpoint.
        """
        state, settings = self._state, self._settings.rollback
        num = state.recovery.num_rollbacks + 1
        if not good or num > settings.limit:
            raise type(error)(
                f"{error}\n  after {num - 1} rollbacks (trainer.rollback.limit); {_described(good)}"
            ) from error
        failed, lr_scale = state.step + 1, state.recovery.lr_scale * settings.factor
        fresh = [one for one in good if one.step != state.recovery.rolled_back_to]
        found = read((fresh or good)[0].path)
        checkpoint.restore(state, found.tensors, found.metadata["progress"])
        recovery = state.recovery
        recovery.num_rollbacks, recovery.lr_scale = num, lr_scale
        recovery.rolled_back_to = state.step
        remembered = found.metadata["hooks"]
        for hook in self._hooks:
            if hook.name in remembered:  # not one that is younger than the checkpoint
                hook.load_state_dict(remembered[hook.name])
        mend_best(self._folder, state, found, is_same_run=False)
        go_back_to(self._folder, found, keep=self._settings.keep)
        self._share()
        self._save.save(state)
        log.warning("%s", error)
        log.warning(
            "rollback %d of %d: from step %d back to step %d, learning rate now times %.3g",
            num, settings.limit, failed, state.step, lr_scale,
        )  # fmt: skip


class Good(NamedTuple):
    """A checkpoint that is whole, and the step that it holds."""

    step: int
    path: Path


def good_checkpoints(folder: RunFolder) -> list[Good]:
    """The checkpoints of a run that are whole, the latest step first."""
    found = []
    for path in (folder.last, folder.previous, *best_paths(folder).values()):
        try:
            found.append(Good(read(path).step, path))
        except CheckpointError:
            continue
    return sorted(found, key=lambda good: good.step, reverse=True)


def healthy_checkpoints(folder: RunFolder) -> list[Good]:
    """Those whose last evaluation, if there was one yet, has found nothing wrong."""
    found = []
    for good in good_checkpoints(folder):
        remembered = read(good.path).metadata["hooks"].get("HealthCheck", {})
        if remembered.get("said", HEALTHY) in SOUND:
            found.append(good)
    return found


def _described(good: Sequence[Good]) -> str:
    where = f"{good[0].path} (step {good[0].step})" if good else "none yet"
    return f"last good checkpoint: {where}"

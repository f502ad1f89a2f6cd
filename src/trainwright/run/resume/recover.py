"""What a run goes on from: its newest checkpoint that is whole, with nothing left of what follows.

A kill leaves a log that is ahead of the checkpoint, and unfinished files; a disk that fails leaves
damaged ones.
"""

import contextlib
import shutil
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from torch import Tensor

from trainwright.engine.checkpoint import checkpoint
from trainwright.engine.checkpoint.several import best_paths, settle
from trainwright.engine.state import TrainState
from trainwright.errors import CheckpointError
from trainwright.files import leftovers, replacing
from trainwright.runs.folder import RunFolder
from trainwright.runs.metrics import rewind


@dataclass(frozen=True)
class Found:
    """A checkpoint that is whole, and what a person should know about how it was found."""

    path: Path
    tensors: dict[str, Tensor]
    metadata: dict[str, Any]
    notes: tuple[str, ...] = ()

    @property
    def step(self) -> int:
        """How many steps it has behind it."""
        return int(self.metadata["progress"]["step"])

    @property
    def logged_step(self) -> int:
        """The last step that is logged: the one before where a signal cut its evaluation short."""
        return self.step - (self.metadata["progress"].get("to_be_done") is not None)


def read(path: Path) -> Found:
    """One checkpoint. Raises CheckpointError where it is damaged or not of a run."""
    tensors, metadata = checkpoint.load(path)
    missing = [key for key in ("name", "config", "progress", "hooks") if key not in metadata]
    if missing or not isinstance(metadata["progress"], dict) or "step" not in metadata["progress"]:
        raise CheckpointError(f"{path} is not a checkpoint of a run that can be resumed")
    return Found(path, tensors, metadata)


def newest_whole(folder: RunFolder) -> Found:
    """The newest checkpoint of a run that is whole: `last`, or if that is damaged another.

    Raises CheckpointError if there is none: a run never starts anew in silence.
    """
    problems = []
    try:
        return read(folder.last)
    except CheckpointError as error:
        problems.append(_first_line(error))
    others = []
    for path in (folder.previous, *best_paths(folder).values()):
        if path.exists():
            try:
                others.append(read(path))
            except CheckpointError as error:
                problems.append(_first_line(error))
    if others:
        found = max(others, key=lambda other: other.step)
        going_on = f"going on from {found.path.name} instead, at step {found.step}"
        return replace(found, notes=(*problems, going_on))
    if not any(folder.checkpoints.glob("*.safetensors")):
        raise CheckpointError(
            f"{folder.path} has no checkpoint: the run ended before it had saved one\n"
            f"  start again in a new folder, with the overrides in {folder.path}/overrides.txt"
        )
    problems.append("nothing is left to go on from, and nothing was changed")
    raise CheckpointError("\n  ".join(problems))


def newest_step(folder: RunFolder) -> int | None:
    """The step that `newest_whole` would find, by what the files claim: only to be shown."""
    paths = (folder.last, folder.previous, *best_paths(folder).values())
    steps = [step for path in paths if (step := checkpoint.saved_step(path)) is not None]
    return max(steps, default=None)


def mend_best(folder: RunFolder, state: TrainState, found: Found, *, is_same_run: bool) -> str:
    """See that `best` on disk is what the state says; returns a note if something was wrong.

    A run that goes back behind its best evaluation comes to it again, if it is the same run to the
    bit (`is_same_run`). A damaged file is replaced by one of the same step; where there is none,
    the best begins anew.
    """
    if state.best is None:
        return ""
    try:
        step = read(folder.best).step
    except CheckpointError as error:
        problem = _first_line(error)
    else:
        if step == state.best.step or (step > state.step and is_same_run):
            return ""
        problem = f"{folder.best} is of step {step}, and the best so far is step {state.best.step}"
    for path in (found.path, folder.previous, *best_paths(folder).values()):
        with contextlib.suppress(CheckpointError):
            other = found if path == found.path else read(path)
            if other.step == state.best.step:
                metadata = {k: v for k, v in other.metadata.items() if k != "format"}
                checkpoint.save([folder.best], other.tensors, metadata)
                return f"{problem}; it was made anew from {path.name}"
    state.best = None
    return f"{problem}; the search for the best begins anew"


def go_back_to(folder: RunFolder, found: Found, *, keep: int = 1) -> list[str]:
    """Make a checkpoint the newest of its run, and remove what was logged and drawn after it.

    `keep`: how many of the best checkpoints are kept, of those until then.

    In this order: whatever comes between, the log is never behind the newest checkpoint. Removes
    unfinished files too, and returns notes about those, and about what of the log is lost.
    """
    if found.path != folder.last:
        with replacing(folder.last) as temporary:
            shutil.copyfile(found.path, temporary)
        # What is called the one before must not come after.
        with contextlib.suppress(CheckpointError):
            if folder.previous.exists() and read(folder.previous).step >= found.step:
                folder.previous.unlink()
    settle(folder, found.step, keep)
    if folder.log.is_file() and folder.log.stat().st_nlink > 1:
        with replacing(folder.log) as temporary:  # what has another name too is not written to
            shutil.copyfile(folder.log, temporary)
    num_lost = rewind(folder.path, found.logged_step)
    lost = f"{num_lost} damaged {'line' if num_lost == 1 else 'lines'} of {folder.metrics} left out"
    for image in folder.samples.glob("*.*"):
        step = image.stem.partition("-")[0]
        if step.isdigit() and int(step) > found.logged_step:
            image.unlink(missing_ok=True)
    return [*([lost] if num_lost else []), *_without_leftovers(folder)]


def _without_leftovers(folder: RunFolder) -> list[str]:
    unfinished: Sequence[Path] = leftovers(folder.path)
    for path in unfinished:
        path.unlink(missing_ok=True)
    if not unfinished:
        return []
    files = "file" if len(unfinished) == 1 else "files"
    return [f"removed {len(unfinished)} unfinished {files} that a killed process had left"]


def _first_line(error: Exception) -> str:
    return str(error).splitlines()[0]

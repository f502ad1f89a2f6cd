"""An earlier run that goes on: its state is put back, and what is different now is said."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor

from trainwright.engine.checkpoint import checkpoint
from trainwright.engine.device.environment import THREADS_NEXT, differences, environment, may_vary
from trainwright.engine.hook import Hook
from trainwright.errors import CheckpointError, ConfigError
from trainwright.run.assemble.assemble import Assembly
from trainwright.run.resume.changes import Change, begin_anew
from trainwright.run.resume.recover import Found, go_back_to, mend_best
from trainwright.run.resume.same_data import REDRAWN, is_changed, require_same_kind
from trainwright.runs.folder import RunFolder
from trainwright.runs.lock import RunLock
from trainwright.wording import format_count, format_number


@dataclass(frozen=True)
class Resume:
    """An earlier run, locked, read and checked, and what is changed of it."""

    folder: RunFolder
    lock: RunLock
    found: Found
    changes: Sequence[Change] = ()


@dataclass
class GoingOn:
    """How a run goes on, for the screen and for summary.json."""

    step: int
    checkpoint: str
    notes: list[str] = field(default_factory=list)
    changes: list[str] = field(default_factory=list)
    not_exact: list[str] = field(default_factory=list)

    def lines(self) -> list[str]:
        """What a person reads."""
        inexact = [f"not bit-exact: {difference}" for difference in self.not_exact]
        return [*self.notes, *self.changes, *inexact]

    def record(self) -> dict[str, Any]:
        """What summary.json keeps."""
        changes = {"changes": self.changes, "not_exact": self.not_exact, "notes": self.notes}
        return {"step": self.step, "checkpoint": self.checkpoint, **changes}


def put_back(resume: Resume, assembly: Assembly, hooks: Sequence[Hook]) -> GoingOn:
    """Restore the state of an earlier run, and take its folder back to that step.

    Raises ConfigError, DataError or CheckpointError for what does not fit, before the folder is
    changed.
    """
    found, state = resume.found, assembly.state
    metadata = found.metadata
    inexact = what_is_not_exact(metadata, assembly)
    redrawn = is_changed(metadata, assembly.dataset)
    anew = begin_anew(resume.changes)
    restore_state(found.tensors, metadata, assembly, hooks, anew)
    _check_length(assembly)

    is_same = not resume.changes and not inexact
    mended = mend_best(resume.folder, state, found, is_same_run=is_same)
    removed = go_back_to(resume.folder, found, keep=assembly.settings.keep)
    found.tensors.clear()  # the run has its own by now
    notes = [*found.notes, *([mended] if mended else []), *removed]
    notes += [f"its data have changed: {REDRAWN}"] if redrawn else []
    changes = [str(change) for change in resume.changes]
    if any(change.key.startswith(_SETS_THE_RATE) for change in resume.changes):
        changes.append(_learning_rate(assembly))
    return GoingOn(state.step, found.path.name, notes, changes, inexact)


def restore_state(
    tensors: dict[str, Tensor],
    metadata: dict[str, Any],
    assembly: Assembly,
    hooks: Sequence[Hook],
    anew: Collection[str],
) -> None:
    """Give weights, optimizers, schedule and hooks what a checkpoint holds, but for `anew`.

    Raises CheckpointError for what does not fit, DataError for data of another kind.
    """
    state = assembly.state
    require_same_kind(metadata, assembly.dataset.info)
    then = metadata.get("environment")
    if not isinstance(then, dict) or then.get("precision") != state.placement.precision:
        anew = {*anew, "scale"}
    checkpoint.restore(state, tensors, metadata["progress"], anew=anew)
    _restore_hooks(metadata["hooks"], hooks, anew)


def what_is_not_exact(metadata: dict[str, Any], assembly: Assembly) -> list[str]:
    """Why the steps to come may differ in the last bits from those of the run that was saved."""
    placement = assembly.state.placement
    then = metadata.get("environment")
    known = dict(then) if isinstance(then, dict) else {}
    if THREADS_NEXT in metadata:
        known["threads"] = str(metadata[THREADS_NEXT])
    inexact = differences(known, environment(placement, assembly.dataset))
    return [*inexact, *filter(None, [may_vary(placement)])]


_SETS_THE_RATE = (
    "optimizer",
    "schedule",
    "trainer.steps",
    "trainer.epochs",
    "trainer.tokens",
    "federated.rounds",
    "trainer.schedule",
)


def _learning_rate(assembly: Assembly) -> str:
    """What the learning rate is from here on."""
    schedule, clock, step = assembly.state.schedule, assembly.state.clock, assembly.state.step
    begin, end = schedule.clock.first_step, schedule.clock.first_step + schedule.clock.total_steps
    now = schedule.factor(min(step, clock.total_steps - 1))
    last = schedule.factor(clock.total_steps - 1)
    return (
        f"learning rate: the schedule spans steps {format_count(begin)} to {format_count(end)}; "
        f"{format_number(now)} times optimizer.lr now, {format_number(last)} in the last step"
    )


def _restore_hooks(stored: Any, hooks: Sequence[Hook], anew: Collection[str]) -> None:
    """Give hooks back what they remembered; one that is new to the run has nothing to remember."""
    for hook in hooks:
        name = hook.name
        if name in stored and "early stopping" not in anew:
            try:
                hook.load_state_dict(stored[name])
            except (LookupError, TypeError, ValueError, OverflowError, AssertionError) as error:
                raise CheckpointError(f"the saved state of {name} does not fit: {error}") from error


def _check_length(assembly: Assembly) -> None:
    """Raise ConfigError for a length that the run has already gone beyond."""
    step, total = assembly.state.step, assembly.state.clock.total_steps
    if step > total:
        key = "trainer.steps" if assembly.state.rounds is None else "federated.rounds"
        raise ConfigError(
            f"{key}={total}: the run has already made {step} steps\n"
            "  it can only be made longer; to end it here, leave it as it is"
        )

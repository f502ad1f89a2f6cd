"""Go on with an earlier run: its own config, what may be changed, and the state it was in."""

import contextlib
import copy
from collections.abc import Sequence

from omegaconf import DictConfig

from trainwright.config.plan import Plan
from trainwright.config.stored import refuse_addresses, resume_command, stored_config
from trainwright.config.trust import trusted_targets
from trainwright.engine.settings import TrainerSettings
from trainwright.errors import CheckpointError, DiskError
from trainwright.files import typed_path
from trainwright.run.request import Request
from trainwright.run.resume.changes import NOT_CHANGES, apply_changes, key_of
from trainwright.run.resume.continuing import Resume
from trainwright.run.resume.recover import Found, newest_whole, read
from trainwright.runs.folder import RunFolder
from trainwright.runs.lock import RunLock
from trainwright.runs.summary import read_summary
from trainwright.wording import printable

# With one of these a run that is finished has something left to do.
LONGER = (
    "trainer.epochs",
    "trainer.steps",
    "trainer.tokens",
    "federated.rounds",
    "trainer.early_stopping",
    "trainer.on_ill",
)


def resume_request(config: DictConfig, overrides: Sequence[str]) -> Request:
    """The request to go on with the run that `trainer.resume` names, which is locked for us.

    The run's own config counts, not the defaults of today, with the changes that are typed. Goes
    on from the newest checkpoint that is whole, or from the file that is named. Raises ConfigError,
    CheckpointError, or DiskError where the folder cannot be written to.
    """
    named = typed_path(str(config.trainer.resume))
    folder = RunFolder.existing(str(config.trainer.resume))
    folder.refuse_ways_out()
    with contextlib.ExitStack() as if_refused:
        lock = if_refused.enter_context(_lock(folder))
        found = read(named) if named.is_file() else newest_whole(folder)
        if "average" in found.metadata:
            raise CheckpointError(
                f"{found.path} is an average of several runs, and no run that could go on\n"
                "  a new run from its weights: runs fork RUN"
            )
        stored = stored_config(found.path, found.metadata)
        as_stored = copy.deepcopy(stored)
        total = _total_steps(found)
        changes = apply_changes(stored, config, overrides, step=found.step, total=total)
        trusted = trusted_targets(as_stored, map(str, config.trust), folder.path, stored)
        refuse_addresses(stored, [key_of(override) for override in overrides])
        plan = Plan.of(
            stored,
            name=str(found.metadata["name"]),
            overrides=[o.lstrip("+") for o in overrides if key_of(o) not in NOT_CHANGES],
            allow=trusted,
        )
        if_refused.pop_all()
    return Request(plan, Resume(folder, lock, found, changes))


def _lock(folder: RunFolder) -> RunLock:
    try:
        return RunLock(folder.path).acquire()
    except DiskError as error:
        raise DiskError(
            f"{error}\n  to go on with the run, copy the folder to where you may write"
        ) from error


def finished(request: Request) -> str | None:
    """What to tell who resumes a run that is finished; None if there is something left to do."""
    assert request.resume is not None
    folder, step = request.resume.folder, request.resume.found.step
    summary = read_summary(folder.path)
    if summary.get("status") != "finished" or summary.get("step") != step:
        return None
    if any(key_of(override).startswith(LONGER) for override in request.plan.overrides):
        return None
    reason = summary.get("stopped_because")
    if isinstance(reason, str) and step < _total_steps(request.resume.found):
        return (
            f"this run is finished: it was stopped early at step {step}: {printable(reason)}\n"
            f"  to go on with it: {resume_command(folder.path, request.plan.kept)}"
            f" {_what_lets_it_go_on(reason, request.plan.settings)}"
        )
    return (
        f"this run is finished: it ended at step {step}, and nothing is left to do\n"
        f"  to go on with it: {resume_command(folder.path, request.plan.kept)}"
        f" {request.plan.length_key}={2 * step} trainer.schedule_until=100%\n"
        "  this stretches its schedule: the learning rate rises to its value there"
    )


def _what_lets_it_go_on(reason: str, settings: TrainerSettings) -> str:
    """What would not have stopped a run that was stopped early."""
    patience = settings.early_stopping.patience
    if patience is None or "trainer.on_ill" in reason:
        return "trainer.on_ill=warn"
    return f"trainer.early_stopping.patience={2 * int(patience)}"


def _total_steps(found: Found) -> int:
    total = found.metadata.get("total_steps")
    if not isinstance(total, int) or total < 1:
        raise CheckpointError(f"{found.path} does not say how many steps its run has")
    return total

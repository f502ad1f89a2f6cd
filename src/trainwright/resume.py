"""Go on with an earlier run: its own config, what may be changed, and the state it was in."""

import contextlib
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from trainwright.changes import NOT_CHANGES, apply_changes, key_of
from trainwright.compose import check_sections
from trainwright.config import TRUSTED_TARGETS
from trainwright.continuing import Resume
from trainwright.errors import CheckpointError, ConfigError
from trainwright.lock import RunLock
from trainwright.records import read_summary
from trainwright.recover import Found, newest_whole, read
from trainwright.run import Request
from trainwright.runfolder import RunFolder

# With one of these a run that is finished has something left to do.
LONGER = ("trainer.epochs", "trainer.steps", "trainer.early_stopping")


def resume_request(config: DictConfig, overrides: Sequence[str]) -> Request:
    """The request to go on with the run that `trainer.resume` names, which is locked for us.

    The run's own config counts, not the defaults of today, with the changes that are typed. Goes
    on from the newest checkpoint that is whole, or from the file that is named. Raises ConfigError,
    CheckpointError, or DiskError where the folder cannot be written to.
    """
    named = Path(str(config.trainer.resume)).expanduser()
    folder = RunFolder.existing(str(config.trainer.resume))
    with contextlib.ExitStack() as if_refused:
        lock = if_refused.enter_context(RunLock(folder.path).acquire())
        found = read(named) if named.is_file() else newest_whole(folder)
        stored = stored_config(found)
        total = _total_steps(found)
        changes = apply_changes(stored, config, overrides, step=found.step, total=total)
        trusted = TRUSTED_TARGETS | {str(target) for target in config.trust}
        check_trust(stored, trusted)
        if_refused.pop_all()
    return Request(
        config=stored,
        overrides=[o.lstrip("+") for o in overrides if key_of(o) not in NOT_CHANGES],
        name=str(found.metadata["name"]),
        resume=Resume(folder, lock, found, trusted, changes),
    )


def finished(request: Request) -> str | None:
    """What to tell who resumes a run that is finished; None if there is something left to do."""
    assert request.resume is not None
    folder, step = request.resume.folder, request.resume.found.step
    summary = read_summary(folder)
    if summary.get("status") != "finished" or summary.get("step") != step:
        return None
    if any(key_of(override).startswith(LONGER) for override in request.overrides):
        return None
    return (
        f"this run is finished: it ended at step {step}, and nothing is left to do\n"
        f"  to go on with it: train trainer.resume={folder.path} trainer.steps={2 * step}"
        " trainer.schedule_until=100%\n"
        "  which stretches its schedule: the learning rate rises to where that now has it"
    )


def _total_steps(found: Found) -> int:
    total = found.metadata.get("total_steps")
    if not isinstance(total, int) or total < 1:
        raise CheckpointError(f"{found.path} does not say how many steps its run has")
    return total


def stored_config(found: Found) -> DictConfig:
    """The config that a checkpoint brings, which may come from anyone."""
    path, config = found.path, found.metadata["config"]
    # What we write is resolved; an interpolation would let a file read the environment.
    if not isinstance(config, dict) or "${" in json.dumps(config):
        raise CheckpointError(f"{path} is not a checkpoint of a run that can be resumed")
    stored = DictConfig(config)
    try:
        check_sections(stored)
    except ConfigError as error:
        raise CheckpointError(
            f"{path} holds a config that this version cannot run\n  {error}"
        ) from error
    return stored


def check_trust(stored: DictConfig, trusted: frozenset[str]) -> None:
    """Raise ConfigError that names every class which is neither ours nor trusted by name."""
    unknown = set(_targets(OmegaConf.to_container(stored))) - trusted
    if unknown:
        raise ConfigError(
            f"this run builds what is not trainwright's own: {', '.join(sorted(unknown))}\n"
            "  a checkpoint from elsewhere could run any code that way; if you know these, add\n"
            f"  'trust=[{','.join(sorted(unknown | (trusted - TRUSTED_TARGETS)))}]'"
        )


def _targets(node: Any) -> Iterator[str]:
    if isinstance(node, dict):
        if "_target_" in node:
            yield str(node["_target_"])
        for value in node.values():
            yield from _targets(value)

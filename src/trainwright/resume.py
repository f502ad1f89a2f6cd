"""Go on with an earlier run: its own config, what may be changed, and the state it was in."""

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from trainwright.compose import check_sections
from trainwright.config import TRUSTED_TARGETS
from trainwright.engine import checkpoint
from trainwright.errors import CheckpointError, ConfigError
from trainwright.run import Request, Resume
from trainwright.runfolder import RunFolder
from trainwright.validation import nearest, unknown_key

# What may differ when a run goes on: how long it is, how often it looks, where it computes.
LONGER = ("trainer.epochs", "trainer.steps", "trainer.early_stopping.patience")
CHANGEABLE = (
    *LONGER,
    "trainer.log_every",
    "trainer.evaluate_every",
    "trainer.sample_every",
    "trainer.save_every",
    "trainer.evaluate_batch_size",
    "trainer.device",
    "trainer.threads",
    "data.root",
    "data.path",
)
NOT_CHANGES = ("trainer.resume", "trust")


def resume_request(config: DictConfig, overrides: Sequence[str]) -> Request:
    """The request to go on with the run that `trainer.resume` names.

    The run's own config counts, not the defaults of today; what is typed besides must be among
    CHANGEABLE. Raises ConfigError or CheckpointError.
    """
    named = Path(str(config.trainer.resume)).expanduser()
    folder = RunFolder.existing(str(config.trainer.resume))
    path = named if named.is_file() else folder.last
    changes = _changes(overrides)
    tensors, metadata = checkpoint.load(path)
    stored = _stored_config(path, metadata)
    for key in changes:
        if OmegaConf.select(stored, key, default=_MISSING) is _MISSING:
            raise unknown_key(key, list(stored[key.split(".")[0]]))
        value = OmegaConf.select(config, key)
        OmegaConf.update(stored, key, value)
        if key in {"trainer.epochs", "trainer.steps"} and value is not None:
            other = "steps" if key == "trainer.epochs" else "epochs"
            OmegaConf.update(stored, f"trainer.{other}", None)
    trusted = TRUSTED_TARGETS | {str(target) for target in config.trust}
    _check_trust(stored, trusted)
    return Request(
        config=stored,
        overrides=[o for o in overrides if _key(o) in CHANGEABLE],
        name=str(metadata["name"]),
        resume=Resume(folder, tensors, metadata, trusted),
    )


def finished(request: Request) -> str | None:
    """What to tell who resumes a run that is finished; None if there is something left to do."""
    assert request.resume is not None
    folder, progress = request.resume.folder, request.resume.metadata["progress"]
    try:
        summary = json.loads((folder.path / "summary.json").read_text())
    except (OSError, ValueError):
        return None
    if summary.get("status") != "finished" or summary.get("step") != progress["step"]:
        return None
    if any(_key(override) in LONGER for override in request.overrides):
        return None
    step = int(progress["step"])
    return (
        f"this run is finished: it ended at step {step}, and nothing is left to do\n"
        f"  to go on with it: train trainer.resume={folder.path} trainer.steps={2 * step}"
    )


def _key(override: str) -> str:
    return override.lstrip("+~").split("=")[0]


def _changes(overrides: Sequence[str]) -> list[str]:
    """The keys that are typed anew. Raises ConfigError for one that a run must keep."""
    keys = [_key(override) for override in overrides if _key(override) not in NOT_CHANGES]
    for key in keys:
        if key not in CHANGEABLE:
            raise ConfigError(
                f"{key}: cannot be changed when a run goes on, for it would be another run"
                f"{nearest(key, CHANGEABLE)}\n"
                "  leave it out, or start a new run without trainer.resume\n"
                f"  may be changed: {', '.join(CHANGEABLE)}"
            )
    if {"trainer.epochs", "trainer.steps"} <= set(keys):
        raise ConfigError("trainer.epochs and trainer.steps are both given: a run has one length")
    return keys


def _stored_config(path: Path, metadata: dict[str, Any]) -> DictConfig:
    """The config that a checkpoint brings, which may come from anyone."""
    config = metadata.get("config")
    missing = [key for key in ("name", "progress", "hooks") if key not in metadata]
    # What we write is resolved; an interpolation would let a file read the environment.
    if not isinstance(config, dict) or missing or "${" in json.dumps(config):
        raise CheckpointError(f"{path} is not a checkpoint of a run that can be resumed")
    stored = DictConfig(config)
    try:
        check_sections(stored)
    except ConfigError as error:
        raise CheckpointError(
            f"{path} holds a config that this version cannot run\n  {error}"
        ) from error
    return stored


def _check_trust(stored: DictConfig, trusted: frozenset[str]) -> None:
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


_MISSING = object()

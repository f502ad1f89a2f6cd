"""The config that a checkpoint brings, which may come from anyone: checked before it is used."""

import json
from collections.abc import Collection, Iterable
from pathlib import Path
from typing import Any

from omegaconf import DictConfig

from trainwright.command_line import command, listing, override
from trainwright.config.build import plain
from trainwright.config.plan import Plan
from trainwright.config.trust import targets_of, trusted_targets
from trainwright.errors import CheckpointError, ConfigError
from trainwright.targets import TRUSTED_TARGETS, named_as_now
from trainwright.wording import printable


def stored_config(path: Path, metadata: dict[str, Any]) -> DictConfig:
    """The config in a checkpoint's metadata. Raises CheckpointError where it is none that can run.

    Nothing is built from it before `trusted_targets` has seen it.
    """
    stored = _stored(path, metadata)
    _planned(path, metadata, stored, allow=())
    return stored


def stored_plan(path: Path, metadata: dict[str, Any], trust: Iterable[str]) -> Plan:
    """The plan of the run that a checkpoint is of, of which `trust` may be built as well as ours.

    Raises CheckpointError as `stored_config` does, and ConfigError as `trusted_targets`.
    """
    stored = _stored(path, metadata)
    allow = trusted_targets(stored, trust, path.resolve().parent.parent)
    return _planned(path, metadata, stored, allow=allow)


def _stored(path: Path, metadata: dict[str, Any]) -> DictConfig:
    config = metadata.get("config")
    # What we write is resolved; an interpolation would let a file read the environment.
    if not isinstance(config, dict) or "${" in json.dumps(config):
        raise CheckpointError(f"{path} is not a checkpoint of a run that can be used")
    return DictConfig(named_as_now(config))


def _planned(
    path: Path, metadata: dict[str, Any], stored: DictConfig, *, allow: Collection[str]
) -> Plan:
    try:
        return Plan.of(stored, name=str(metadata.get("name")), allow=allow)
    except ConfigError as error:
        raise CheckpointError(
            f"{path} holds a config that this version cannot run\n  {str(error).splitlines()[0]}"
        ) from error


# Where a logger sends what it is told, or writes it.
_ADDRESSES = ("tracking_uri", "entity", "dir")


def addresses(config: DictConfig) -> dict[str, str]:
    """Where the loggers of a config send to or write, by key, where that is not left to them."""
    loggers = plain(config.get("logger"))
    return {
        f"logger.{name}.{key}": str(node[key])
        for name, node in (loggers.items() if isinstance(loggers, dict) else ())
        for key in _ADDRESSES
        if isinstance(node, dict) and node.get(key) is not None
    }


def resume_command(run: Path, config: DictConfig) -> str:
    """What is typed to go on with the run of that folder, which has been built in this process.

    With what `refuse_addresses` and `trusted_targets` want to be told again.
    """
    typed: dict[str, str | Path] = {"trainer.resume": run, **addresses(config)}
    words = [override(key, text) for key, text in typed.items()]
    own = sorted(targets_of(config) - TRUSTED_TARGETS)
    return command("train", *words, *([listing("trust", own)] if own else []))


def refuse_addresses(stored: DictConfig, typed: Collection[str]) -> None:
    """Raise ConfigError where a stored config sends to where nobody has said that it should.

    `typed`: the keys that were. A checkpoint from elsewhere may name anyone's server, and what is
    sent are pictures and numbers of the data here.
    """
    for key, value in addresses(stored).items():
        if not {key, "logger"} & set(typed):
            raise ConfigError(
                f"{key}={printable(value)}: the checkpoint wants to send metrics there\n"
                "  one from elsewhere could name any place; if you know this one, type it too\n"
                "  or send nothing: logger=none"
            )

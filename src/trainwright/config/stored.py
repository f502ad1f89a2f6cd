"""The config that a checkpoint brings, which may come from anyone: checked before it is used."""

import json
import shlex
from collections.abc import Collection, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from trainwright.config.build import plain
from trainwright.config.compose import check_sections
from trainwright.errors import CheckpointError, ConfigError
from trainwright.targets import TRUSTED_TARGETS, named_as_now
from trainwright.wording import nearest, printable


def stored_config(path: Path, metadata: dict[str, Any]) -> DictConfig:
    """The config in a checkpoint's metadata. Raises CheckpointError where it is none that can run.

    Nothing is built from it before `trusted_targets` has seen it.
    """
    config = metadata.get("config")
    # What we write is resolved; an interpolation would let a file read the environment.
    if not isinstance(config, dict) or "${" in json.dumps(config):
        raise CheckpointError(f"{path} is not a checkpoint of a run that can be used")
    stored = DictConfig(named_as_now(config))
    try:
        check_sections(stored)
    except ConfigError as error:
        raise CheckpointError(
            f"{path} holds a config that this version cannot run\n  {error}"
        ) from error
    return stored


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
    typed = {"trainer.resume": str(run), **addresses(config)}
    own = sorted(targets_in(config) - TRUSTED_TARGETS)
    if own:
        typed["trust"] = f"[{','.join(own)}]"
    return " ".join(["train", *(shlex.quote(f"{key}={value}") for key, value in typed.items())])


def refuse_addresses(stored: DictConfig, typed: Collection[str]) -> None:
    """Raise ConfigError where a stored config sends to where nobody has said that it should.

    `typed`: the keys that were. A checkpoint from elsewhere may name anyone's server, and what is
    sent are pictures and numbers of the data here.
    """
    for key, value in addresses(stored).items():
        if not {key, "logger"} & set(typed):
            raise ConfigError(
                f"{key}={printable(value)}: the checkpoint wants to send what is measured there\n"
                "  one from elsewhere could name any place; if you know it, type that too\n"
                "  or send nothing: logger=none"
            )


def trusted_targets(stored: DictConfig, trust: Iterable[str]) -> frozenset[str]:
    """Our own targets and those that the user trusts by name: what may be built.

    Raises ConfigError that names every class of the config which is neither, or one that is trusted
    and not in the config.
    """
    wanted, named = targets_in(stored), frozenset(trust)
    unknown = wanted - TRUSTED_TARGETS - named
    if unknown:
        raise ConfigError(
            f"this run builds what is not trainwright's own: {', '.join(sorted(unknown))}\n"
            "  a checkpoint from elsewhere could run any code that way; if you know these, add\n"
            f"  'trust=[{','.join(sorted(wanted - TRUSTED_TARGETS))}]'"
        )
    needless = sorted(named - wanted)
    if needless:
        raise ConfigError(
            f"trust={printable(needless[0])} has no effect: this run builds no such class"
            f"{nearest(needless[0], wanted)}\n  leave it out"
        )
    return TRUSTED_TARGETS | named


def refuse_trust(config: Mapping[str, Any]) -> None:
    """Raise ConfigError where a new run is told what to trust, which only stored ones ask."""
    if config["trust"]:
        raise ConfigError(
            f"trust=[{','.join(config['trust'])}] has no effect: what you type yourself is built\n"
            "  it is for going on with a run: trainer.resume=...; leave it out"
        )


def targets_in(config: DictConfig) -> frozenset[str]:
    """Everything that a config would build."""
    return frozenset(_targets_below(OmegaConf.to_container(config)))


def _targets_below(node: Any) -> Iterator[str]:
    if isinstance(node, dict):
        if "_target_" in node:
            yield str(node["_target_"])
        for value in node.values():
            yield from _targets_below(value)

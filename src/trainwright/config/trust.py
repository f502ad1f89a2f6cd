"""Which classes a stored config may build: ours, and those of the user's own that are trusted.

A run that was trained here is trusted, and what was said once of a folder is remembered, with a
hash of its config, as editors do with workspaces: what is put in its place is asked for again.
"""

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import yaml
from omegaconf import DictConfig, OmegaConf

from trainwright import files
from trainwright.command_line import command, listing
from trainwright.config.own_configs import refuse_alias_bomb
from trainwright.config_folder import own_config_folder
from trainwright.errors import ConfigError
from trainwright.targets import TRUSTED_TARGETS, named_as_now
from trainwright.wording import nearest, printable

_MEMORY = "trusted.jsonl"


def trusted_targets(
    stored: DictConfig, trust: Iterable[str], run: Path, changed: DictConfig | None = None
) -> frozenset[str]:
    """What may be built from the config of the run in that folder; what is said is remembered.

    `changed`: that config with what has been typed now, of which the rest is the user's. Raises
    ConfigError that names every class which is not trusted, or one that is and is not in there.
    """
    wanted, named = targets_of(stored), frozenset(trust)
    typed = frozenset() if changed is None else targets_of(changed) - wanted
    unknown = wanted - TRUSTED_TARGETS - named
    if unknown and not _is_remembered(run, stored):
        unknown -= _own_targets(run)
        if unknown:
            raise ConfigError(
                f"this run builds classes not of trainwright: {', '.join(sorted(unknown))}\n"
                "  one from elsewhere could run any code that way; if you know these, add\n"
                f"  {command(listing('trust', sorted(wanted - TRUSTED_TARGETS)))}"
            )
    needless = sorted(named - wanted - typed)
    if needless:
        raise ConfigError(
            f"trust={printable(needless[0])} has no effect: this run builds no such class"
            f"{nearest(needless[0], wanted)}\n  leave it out"
        )
    remember(run, stored)
    return TRUSTED_TARGETS | wanted | typed


def remember(run: Path, config: DictConfig) -> None:
    """Note that the run in that folder, with that config, is the user's, or known to them."""
    if targets_of(config) <= TRUSTED_TARGETS or _is_remembered(run, config):
        return
    files.remember(_MEMORY, _entry(run, config))


def refuse_trust(config: Mapping[str, Any]) -> None:
    """Raise ConfigError where a new run is told what to trust, which only stored ones ask."""
    if config["trust"]:
        raise ConfigError(
            f"trust=[{','.join(config['trust'])}] has no effect: what you type yourself is built\n"
            "  it is for resuming a run: trainer.resume=...; leave it out"
        )


def targets_of(config: Any) -> frozenset[str]:
    """Everything that a config would build."""
    return frozenset(_targets(OmegaConf.to_container(config)))


def _targets(node: Any) -> Iterator[str]:
    if isinstance(node, dict):
        if "_target_" in node:
            yield str(node["_target_"])
        for value in node.values():
            yield from _targets(value)


def _own_targets(run: Path) -> set[str]:
    """What `./configs` names, for a run in the working directory; for one elsewhere nothing."""
    own = own_config_folder()
    if own is None or not run.resolve().is_relative_to(Path.cwd().resolve()):
        return set()
    found: set[str] = set()
    for path in sorted(own.glob("*/*.yaml")):
        with suppress(OSError, ValueError, RecursionError, yaml.YAMLError, ConfigError):
            refuse_alias_bomb(path)
            found |= set(_targets(yaml.safe_load(path.read_bytes())))
    return found


def _is_remembered(run: Path, config: DictConfig) -> bool:
    return _entry(run, config) in files.remembered(_MEMORY)


def _entry(run: Path, config: DictConfig) -> str:
    plain = named_as_now(OmegaConf.to_container(config))
    text = json.dumps(plain, sort_keys=True, default=str)
    digest = hashlib.sha256(text.encode()).hexdigest()
    return json.dumps({"run": str(run.resolve()), "sha256": digest})

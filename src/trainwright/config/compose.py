"""What composing a config needs besides Hydra: the user's own configs, and checks of the whole."""

import difflib
import os
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from hydra import compose, initialize_config_dir
from hydra.core.config_store import ConfigStore
from hydra.core.global_hydra import GlobalHydra
from hydra.core.plugins import Plugins
from omegaconf import DictConfig, ListConfig, OmegaConf

from trainwright.config.own_configs import FileConfigSource, OwnConfigs
from trainwright.config.validation import unknown_key
from trainwright.config_folder import GROUPS, config_folder, group_options
from trainwright.engine.settings import LENGTHS
from trainwright.errors import ConfigError
from trainwright.wording import choices, closest

# The sections of a config, and what each needs to be: a group from which one is chosen, or keys.
SECTIONS = ("task", "optimizer", "schedule", "trainer", "data", "model")
KEYS = ("seed", "run", "logger", "hooks", "trust", "sweep", "federated")
MADE = ("fork",)  # by a command; nobody types it

_AT_WORK = threading.RLock()
if hasattr(os, "register_at_fork"):  # another thread, which the child lacks, may hold it
    os.register_at_fork(after_in_child=_AT_WORK._at_fork_reinit)  # type: ignore[attr-defined]


def register_schema() -> None:
    """Tell Hydra of the user's own configs, and of the sections that are open to new keys.

    Hydra closes every section; which players, metrics and hooks there are it cannot know.
    """
    Plugins.instance().register(OwnConfigs)
    FileConfigSource.register()
    for name in ("players", "metrics", "hooks"):
        node = OmegaConf.create({name: OmegaConf.create({}, flags={"struct": False})})
        ConfigStore.instance().store(name=name, node=node)


@contextmanager
def hydra_ready() -> Iterator[None]:
    """Hydra, ready to compose from our configs: in one thread at a time, for a process has one."""
    with _AT_WORK:
        shared = GlobalHydra.instance()
        before, shared.hydra = shared.hydra, None  # a program may have an app of its own
        try:
            with initialize_config_dir(str(config_folder()), version_base="1.3"):
                yield
        finally:
            GlobalHydra.instance().hydra = before


def check_sections(config: Mapping[str, Any]) -> None:
    """Raise ConfigError for a section that is missing or that nothing reads, or is no section."""
    for key in map(str, config):
        if key not in (*SECTIONS, *KEYS, *MADE):
            raise unknown_key(key, [*SECTIONS, *KEYS])
    for name in SECTIONS:
        if not isinstance(config.get(name), Mapping):
            raise ConfigError(
                f"{name}={config.get(name)!r}: a run needs a {name}\n"
                f"  {name} accepts: {', '.join(group_options(name))}"
            )
    seed = config.get("seed")
    if not isinstance(seed, int) or isinstance(seed, bool):
        raise ConfigError(f"seed={seed!r}: it must be a whole number")
    trust = config.get("trust")
    if not isinstance(trust, list | ListConfig) or not all(
        isinstance(target, str) for target in trust
    ):
        raise ConfigError(f"trust={trust!r}: it must be a list of classes: 'trust=[mine.Net]'")


def settle_length(config: DictConfig, overrides: Sequence[str]) -> None:
    """Let what was typed win where more than one of `LENGTHS` is set.

    A model may bring a number of steps; who types epochs means those, and a federated run lasts so
    many rounds. Raises ConfigError where several were typed, or none.
    """
    trainer = config.trainer
    lengths = [name for name in LENGTHS if trainer.get(name) is not None]
    in_rounds = config.get("federated") is not None
    if len(lengths) < 2 and not in_rounds:
        return
    typed = {override.lstrip("+").split("=")[0] for override in overrides}
    chosen = [name for name in lengths if f"trainer.{name}" in typed]
    if len(chosen) != 1 and not in_rounds:
        both = " and ".join(f"trainer.{name}={trainer[name]}" for name in (chosen or lengths))
        raise ConfigError(f"{both} are both set\n  a run has one length: set the other to null")
    for name in lengths:
        if name not in chosen:
            trainer[name] = None


def keys_of(arguments: Sequence[str]) -> dict[str, list[str]]:
    """Every section that the groups chosen by `arguments` bring, and its keys.

    The whole config is the section "".
    """
    return dict(_sections("", composed(arguments)))


def composed(arguments: Sequence[str]) -> DictConfig:
    """The config with the groups that are chosen by `arguments`; for messages and completion."""
    chosen = [a for a in arguments if group_options(a.split("=")[0]) and "," not in a]
    with hydra_ready():
        try:
            return compose("train", overrides=chosen)
        except Exception:  # one of those is wrong as well, and will be told next time
            return compose("train")


def _sections(name: str, node: DictConfig) -> Iterator[tuple[str, list[str]]]:
    yield name, [str(key) for key in node]
    for key, value in node.items_ex(resolve=False):
        if isinstance(value, DictConfig):
            yield from _sections(f"{name}.{key!s}" if name else str(key), value)


def no_such_key(key: str, arguments: Sequence[str]) -> ConfigError:
    """The error for a key that the config which `arguments` choose lacks: what is near, and all."""
    sections = keys_of(arguments)
    sections[""] = sorted({*sections[""], *GROUPS})  # `experiment` is a group that sets others
    section = key.partition(".")[0]
    if section not in sections and section in group_options("trainer"):
        return ConfigError(f"{key}: only trainer={section} has it\n  add trainer={section}")
    meant = similar_key(key, sections)
    parent = key.rpartition(".")[0]
    while parent not in sections:
        parent = parent.rpartition(".")[0]
    said = f"{parent} accepts" if parent else "accepted are"
    if meant == key:  # the usual one has it, and not every one that is swept
        return ConfigError(
            f"{key}: there is no such key in the {parent} of some job\n"
            f"  other options of {parent} have it: sweep over those, or leave the key out"
        )
    return ConfigError(
        f"{key}: there is no such key{f'; did you mean {meant}?' if meant else ''}\n"
        f"{choices(said, key.rpartition('.')[2], sections[parent])}"
    )


def similar_key(key: str, sections: Mapping[str, Sequence[str]]) -> str | None:
    """The key that may have been meant: `lr` is optimizer.lr, `optimizer.learning_rate` too."""
    keys = [
        f"{section}.{name}" if section else name
        for section in sections
        for name in sections[section]
    ]
    parent, _, name = key.rpartition(".")
    same_name = [k for k in keys if k.rpartition(".")[2] == name]
    if same_name:
        return min(same_name, key=lambda k: (-_alike(k, key), len(k)))
    if "_" in name:
        initials = "".join(word[0] for word in name.split("_") if word)
        known = sorted(keys, key=lambda k: k.rpartition(".")[0] != parent)
        of_initials = [k for k in known if k.rpartition(".")[2] == initials]
        if of_initials:
            return of_initials[0]
    here = closest(name, sections.get(parent, ()))
    if here is not None:
        return f"{parent}.{here}" if parent else here
    alike = [section for section in sections if parent and closest(parent, [section])]
    for section in (*alike, *sections):
        found = closest(name, sections[section])
        if found is not None:
            return f"{section}.{found}" if section else found
    return None


def _alike(one: str, other: str) -> float:
    return difflib.SequenceMatcher(None, one, other).ratio()

"""What may stand at a place of a `train` command line: flags, groups, keys, values. No torch."""

import re
from collections.abc import Iterable, Sequence
from typing import Any, Literal, get_args, get_origin, get_type_hints

from trainwright.cli.completion.shells import INSTALL, SHELLS, values
from trainwright.config_folder import GROUPS, group_options

FLAGS = ("--multirun", "--cfg", "--package", "--debug", "--help", "--version", INSTALL)
_AFTER = {
    "--cfg": ("job", "hydra", "all"),
    "--package": tuple(group for group in GROUPS if group != "experiment"),
    INSTALL: tuple(f"install={shell}" for shell in SHELLS),
}


def offered(before: Sequence[str], word: str) -> list[str]:
    """Candidates for `word`, which may be empty or begun, after the words `before` it."""
    if before and before[-1] in _AFTER:
        return list(_AFTER[before[-1]])
    if word.startswith("-"):
        return list(FLAGS)
    key = word.lstrip("+~")
    sign = word.removesuffix(key)
    found = _values(before, key) if "=" in key else _keys(before, key)
    return [sign + candidate for candidate in found]


def _keys(before: Sequence[str], begun: str) -> list[str]:
    """The keys of the section that is begun, and groups; or those of any section: `lr`."""
    from trainwright.config.compose import keys_of, register_schema

    register_schema()
    sections = keys_of(before)
    parent = begun.rpartition(".")[0]
    found = _named(parent, sections.get(parent, ()), sections)
    if not parent:
        found += [f"{group}=" for group in GROUPS]
    if parent or any(name.startswith(begun) for name in found):
        return found
    everywhere = [n for section, keys in sections.items() for n in _named(section, keys, sections)]
    return [name for name in everywhere if name[:-1].rpartition(".")[2].startswith(begun)]


def _named(section: str, keys: Iterable[str], sections: Iterable[str]) -> list[str]:
    """Keys in full, and after each what comes next: a key of its own, or a value."""
    full = [f"{section}.{key}" if section else key for key in keys if not key.startswith("_")]
    return [f"{key}." if key in sections else f"{key}=" for key in full]


def _values(before: Sequence[str], word: str) -> list[str]:
    key = word.partition("=")[0]
    if key in GROUPS:
        return values(key, group_options(key), word)
    if key == "trainer.resume":
        return [f"{key}={path}" for path in _runs()]
    choices = _choices(*key.split(".")) if key.count(".") == 1 else []
    return [f"{key}={value}" for value in choices or _present(before, key)]


def _runs() -> list[str]:
    from trainwright.runs.find import DEFAULT_ROOT, find_runs

    return [str(record.path) for record in find_runs(DEFAULT_ROOT)]


def _choices(section: str, setting: str) -> list[str]:
    """The words that a setting of a section accepts, where there are a few."""
    from trainwright.engine.settings import FederatedSettings, TrainerSettings

    of_section = {"trainer": TrainerSettings, "federated": FederatedSettings}.get(section)
    hint = get_type_hints(of_section).get(setting) if of_section else None
    return [str(word) for word in get_args(hint)] if get_origin(hint) is Literal else []


def _present(before: Sequence[str], key: str) -> list[str]:
    """What the value would be if it were not typed; nothing where it is no plain word."""
    from omegaconf import OmegaConf

    from trainwright.config.compose import composed, register_schema

    register_schema()
    value: Any = OmegaConf.to_container(composed(before), resolve=False)
    for part in key.split("."):
        value = value.get(part) if isinstance(value, dict) else None
    if isinstance(value, bool):
        return ["true", "false"]
    is_plain = isinstance(value, int | float) or re.fullmatch(r"[\w%./-]+", str(value or ""))
    return [str(value)] if is_plain else []

"""The command line as a person means it: what a key that takes text is given, is text.

In Hydra's override grammar `2024` is a number, `a,b` are two values, and `~/photos`, `it's` and
`фото` are nothing at all. For a key whose annotation is text (`data.path`, `run.dir`) they are
quoted before Hydra reads them. What Hydra reads as text already stays as it is.
"""

import ast
import re
from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import Any, Literal

import yaml
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import ChoiceSweep, Override, QuotedString
from hydra.errors import HydraException

from trainwright.command_line import quoted
from trainwright.config.own_configs import refuse_alias_bomb
from trainwright.config.signature import SETTINGS, Parameter, parameter_at
from trainwright.config.validation import empty
from trainwright.config_folder import config_folders, group_options
from trainwright.errors import ConfigError

Kind = Literal[
    "text", "text that must be given", "texts", "text or texts", "text or texts, or none"
]

_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_KEY = re.compile(r"[a-z_][\w.]*", re.IGNORECASE)
_TEXT = {"str", "Path", "pathlib.Path"}


def as_meant(overrides: Sequence[str], *, swept: bool = False) -> list[str]:
    """The overrides, with quotes around what is text and Hydra would take for something else.

    `swept`: commas may separate values. Raises ConfigError for a text that is empty.
    """
    return [_as_meant(override, overrides, swept) for override in overrides]


def parse(value: str) -> Override | None:
    """A value as Hydra reads it; None where it reads none."""
    try:
        return _parser().parse_override(f"key={value}")
    except HydraException:
        return None


@cache
def _parser() -> OverridesParser:
    return OverridesParser.create()


def _as_meant(override: str, all_of_them: Sequence[str], swept: bool) -> str:
    typed, separator, value = override.partition("=")
    key = typed.lstrip("+")
    if not separator or not _KEY.fullmatch(key) or _reads_as_text(value):
        return override
    kind = kind_of(key, all_of_them)
    if kind is None:
        return override
    if kind in ("text or texts", "text or texts, or none"):
        one: Kind = "text that must be given" if kind == "text or texts" else "text"
        kind = "texts" if value.lstrip().startswith("[") else one
    return f"{typed}={_texts(value) if kind == 'texts' else _text(key, value, kind, swept)}"


def _reads_as_text(value: str) -> bool:
    parsed = parse(value)
    return parsed is not None and isinstance(parsed.value(), str) and parsed.value() != ""


def _text(key: str, value: str, kind: Kind, swept: bool) -> str:
    parsed = parse(value)
    meant = None if parsed is None else parsed.value()
    if meant == "" or not value.strip():
        raise empty(key)
    if parsed is not None and meant is None and kind == "text":
        return value  # null: none
    if swept and parsed is not None and parsed.is_sweep_override():
        listed = meant.list if isinstance(meant, ChoiceSweep) and meant.simple_form else []
        if all(isinstance(item, str | QuotedString) for item in listed):
            return value  # texts, or a function of Hydra's
    if swept and "," in value:
        parts = value.split(",")
        return ",".join(p if _reads_as_text(p) else _text(key, p, kind, False) for p in parts)
    return quoted(value)


def _texts(value: str) -> str:
    inner = value.strip()
    if not (inner.startswith("[") and inner.endswith("]")) or "[" in inner[1:]:
        return value  # no list, or several that are swept
    parts = [part.strip() for part in inner[1:-1].split(",")]
    if parts == [""]:
        return value
    return f"[{','.join(part if _is_text(part) else quoted(part) for part in parts)}]"


def _is_text(part: str) -> bool:
    """Whether Hydra reads it as text, which in quotes may be empty."""
    parsed = parse(part)
    return bool(part) and parsed is not None and isinstance(parsed.value(), str)


def kind_of(key: str, overrides: Sequence[str]) -> Kind | None:
    """Whether a key takes text, or a list of texts; None for all else, and for an unknown key.

    `overrides` may choose options of groups; where they don't, all options of it must agree.
    """
    section, *path = key.split(".")
    if key == "trust":
        return "texts"
    if not path:
        return None
    chosen = {o.partition("=")[2] for o in overrides if o.lstrip("+").partition("=")[0] == section}
    options = group_options(section)
    for among in ([option for option in options if option in chosen], options):
        nodes = [_config(f / section / f"{o}.yaml") for f in config_folders() for o in among]
        kinds = set(_kinds(section, path, nodes))
        if kinds:  # else it has its `_target_` from another option
            return kinds.pop() if len(kinds) == 1 else None
    return _kind(parameter_at(SETTINGS[section], path)) if section in SETTINGS else None


def _kinds(section: str, path: Sequence[str], nodes: Sequence[Any]) -> Iterator[Kind | None]:
    for node in nodes:
        usual = _at(node, path)
        if isinstance(usual, bool | int | float) or (isinstance(usual, list) and usual):
            yield None  # the source, which takes longer, need not be looked at
            return
    for node in nodes if section not in SETTINGS else ():
        for depth in range(len(path)):
            inner = _at(node, path[:depth])
            target = inner.get("_target_") if isinstance(inner, dict) else None
            found = parameter_at(target, path[depth:]) if isinstance(target, str) else None
            if found is not None:
                yield _kind(found)


def _at(node: Any, path: Sequence[str]) -> Any:
    for name in path:
        node = node.get(name) if isinstance(node, dict) else None
    return node


@cache
def _config(path: Path) -> Any:
    """What a config file holds; nothing where it cannot be read, which is told by who needs it."""
    try:
        refuse_alias_bomb(path)
        return yaml.load(path.read_bytes(), Loader=_LOADER)  # noqa: S506 - both are safe loaders
    except (OSError, ValueError, RecursionError, yaml.YAMLError, ConfigError):
        return None


def _kind(parameter: Parameter | None) -> Kind | None:
    if parameter is None or parameter.annotation is None:
        return None
    types = set(_types(parameter.annotation))
    if types == {"str", "list[str]"}:
        return "text or texts"
    if types == {"str", "list[str]", "None"}:
        return "text or texts, or none"
    types -= {"None"}
    if types and types <= _TEXT:
        return "text" if parameter.default is not None else "text that must be given"
    lists = re.fullmatch(
        r"(?:list|tuple|Sequence|Collection)\[(\w+)(?:, \.\.\.)?\]", " ".join(types)
    )
    return "texts" if lists is not None and lists[1] in _TEXT else None


def _types(annotation: ast.expr) -> Iterator[str]:
    """The members of a union, as they are written."""
    if isinstance(annotation, ast.BinOp):
        yield from _types(annotation.left)
        yield from _types(annotation.right)
    else:
        yield ast.unparse(annotation)

"""`train model=cnn --help`: every key of an option, from its file and its source; no torch."""

import ast
import re
import textwrap
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from trainwright.config.signature import SETTINGS, Parameter, docstring, parameter_at
from trainwright.config_folder import GROUPS, config_folders, group_options
from trainwright.errors import ConfigError
from trainwright.wording import nearest

ALL = "keys"  # of `train --help keys`
WIDTH = 100
_LINE = re.compile(r"^( *)([\w.]+):(?: +([^#\s].*?))?(?: +#+ ?(.*))?$")
_PLAIN = {"int": "a whole number", "float": "a number", "str": "text", "bool": "true or false",
          "None": "null", "dict": "a section of keys"}  # fmt: skip
_DURATION = "a duration"  # 500 (steps), 2 epochs, 10000 examples, 5%
_BOUNDS = {"gt": "more than {}", "ge": "at least {}", "lt": "less than {}", "le": "at most {}"}


@dataclass(frozen=True)
class KeyLine:
    """A key of a config file: its full name, its value as it is written there, and the comment."""

    key: str
    value: str
    comment: str
    parameter: Parameter | None = None


@dataclass(frozen=True)
class Option:
    """An option of a group: what it is, which other options it brings, its keys."""

    about: str
    brings: Sequence[str]
    keys: Sequence[KeyLine]


def option_help(words: Sequence[str]) -> str | None:
    """Help for what the words name: `model=cnn`, a group, or `keys`; None where they name nothing.

    Raises ConfigError for an option that there is not.
    """
    if ALL in words:
        parts = [_shown("any run", read_file("train", ""))]
        named = [(group, option) for group in GROUPS for option in group_options(group)]
    else:
        parts, named = [], [one for word in words for one in _named(word)]
    parts += [_shown(f"{group}={option}", read_option(group, option)) for group, option in named]
    return "\n\n".join(parts) or None


def _named(word: str) -> Iterator[tuple[str, str]]:
    group, separator, chosen = word.partition("=")
    options = group_options(group)
    for option in chosen.split(",") if separator and options else options:
        if option not in options:
            raise ConfigError(
                f"{group}={option}: there is no such option{nearest(option, options)}\n"
                f"  {group} accepts: {', '.join(options)}"
            )
        yield group, option


def read_option(group: str, option: str) -> Option:
    """An option with what it has from those of its group that its defaults list."""
    return read_file(f"{group}/{option}", group)


def read_file(name: str, prefix: str) -> Option:
    """The keys of a config file, each with the comment beside it, or of the file it is based on."""
    import yaml

    path = next(p for f in config_folders() if (p := f / f"{name}.yaml").is_file())
    text = path.read_text()
    node: Any = yaml.safe_load(text) or {}
    about = [line[1:].strip() for line in text.splitlines() if line.startswith("#")]
    is_global = "@package _global_" in text
    defaults = node.get("defaults", []) if isinstance(node, dict) else []
    brings: list[str] = []
    keys: dict[str, KeyLine] = {}
    for entry in defaults if prefix else []:
        if isinstance(entry, str) and not entry.startswith(("/", "_")):
            keys |= {line.key: line for line in read_option(prefix, entry.partition("@")[0]).keys}
        for group, chosen in entry.items() if isinstance(entry, dict) else ():
            name = str(group).removeprefix("override ").strip("/").partition("@")[0]
            brings.append(f"{name}={chosen}")
    for line in _lines(text, "" if is_global else prefix):
        before = keys.get(line.key)
        comment = line.comment or (before.comment if before else "")
        keys[line.key] = replace(line, comment=comment)
    first = next((i for i, line in enumerate(about) if line and not line.startswith("@")), 0)
    found = [replace(line, parameter=_parameter(line.key, keys)) for line in keys.values()]
    shown = [line for line in found if not line.key.endswith("_target_")]
    shown = [line for line in shown if line.value or line.comment]  # the rest are headings
    return Option(" ".join(about[first : first + 2]), brings, [_explained(o, keys) for o in shown])


def _lines(text: str, prefix: str) -> Iterator[KeyLine]:
    """The keys of a YAML file, sections too, where each stands on a line of its own."""
    above: list[tuple[int, str]] = []  # the sections around, and how far each is indented
    for line in text.splitlines():
        found = _LINE.match(line)
        if found is None:
            continue
        depth, name = len(found[1]), found[2]
        above = [(indent, section) for indent, section in above if indent < depth]
        key = ".".join(filter(None, [prefix, *(section for _, section in above), name]))
        above.append((depth, name))
        around = {section for _, section in above[:-1]}
        if not {"defaults", "hydra", "params"} & around and name not in ("defaults", "hydra"):
            yield KeyLine(key, found[3] or "", found[4] or "")


def _parameter(key: str, keys: dict[str, KeyLine]) -> Parameter | None:
    parts = key.split(".")
    if parts[0] in SETTINGS and len(parts) > 1:
        return parameter_at(SETTINGS[parts[0]], parts[1:])
    for depth in range(len(parts) - 1, 0, -1):
        target = keys.get(".".join([*parts[:depth], "_target_"]))
        if target is not None:
            return parameter_at(target.value, parts[depth:])
    return None


def _explained(line: KeyLine, keys: dict[str, KeyLine]) -> KeyLine:
    """With what the docstring of its class says of it, where the file has no comment."""
    section, _, name = line.key.rpartition(".")
    target = keys.get(f"{section}._target_")
    if line.comment or target is None:
        return line
    sentences = re.split(r"(?<=[.;:])\s+", docstring(target.value).replace("\n", " "))
    about = next((s for s in sentences if f"`{name}`" in s), "")
    return replace(line, comment=" ".join(about.split()))


def _shown(title: str, option: Option) -> str:
    brings = f" Brings {', '.join(option.brings)}." if option.brings else ""
    lines = textwrap.wrap(
        f"{title}: {option.about}{brings}", WIDTH, subsequent_indent="  ", break_on_hyphens=False
    )
    typed = [f"{line.key}={line.value}" if line.value else f"{line.key}." for line in option.keys]
    column = min(44, max(map(len, typed), default=0)) + 4
    for word, line in zip(typed, option.keys, strict=True):
        kind = takes(line)
        about = " ".join(filter(None, [line.comment, kind and f"[{kind}]"]))
        told = textwrap.wrap(about, WIDTH - column, break_on_hyphens=False) or [""]
        first = f"  {word}".ljust(column)
        if len(first) > column:
            lines.append(first)
            first = " " * column
        lines += [f"{first}{told[0]}".rstrip(), *(" " * column + rest for rest in told[1:])]
    return "\n".join(lines)


def takes(line: KeyLine) -> str:
    """What a key takes, as its annotation has it; nothing where that or its comment says so."""
    if line.parameter is None or line.parameter.annotation is None:
        return ""
    words = [w for w in dict.fromkeys(_types(line.parameter.annotation)) if w]
    words = [_DURATION, *words[2:]] if set(words[:2]) == {_PLAIN["int"], "text"} else words
    is_said = all(re.search(rf"\b{re.escape(word)}\b", line.comment) for word in words)
    if is_said or len(words) < 2:
        return "" if is_said else words[0]
    last = ", or " if len(words) > 2 or "," in words[0] else " or "
    return f"{', '.join(words[:-1])}{last}{words[-1]}"


def _types(annotation: ast.expr) -> Iterator[str]:
    """The members of a union, in words."""
    match annotation:
        case ast.BinOp(left=left, right=right):
            yield from _types(left)
            yield from _types(right)
        case ast.Subscript(value=ast.Name(id="Literal"), slice=choices):
            found = choices.elts if isinstance(choices, ast.Tuple) else [choices]
            yield from (str(c.value) for c in found if isinstance(c, ast.Constant))
        case ast.Subscript(value=ast.Name(id="Annotated"), slice=ast.Tuple(elts=[kind, *marks])):
            bounds = [
                _BOUNDS[k.arg].format(ast.unparse(k.value))
                for mark in marks
                if isinstance(mark, ast.Call)
                for k in mark.keywords
                if k.arg in _BOUNDS
            ]
            yield ", ".join([*_types(kind), *bounds])
        case ast.Subscript(value=ast.Name(id="tuple" | "list" | "Sequence"), slice=inner):
            of = inner.elts[0] if isinstance(inner, ast.Tuple) and inner.elts else inner
            words = " or ".join(word.removeprefix("a ") for word in _types(of) if word)
            yield f"a list, each {words}"
        case ast.Constant(value=None):
            yield "null"
        case _:
            yield _PLAIN.get(ast.unparse(annotation).partition("[")[0], "")

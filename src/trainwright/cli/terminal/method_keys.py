"""The keys of a command that a task's own method takes, read from its source. No torch."""

import ast
import json
import math
from collections.abc import Callable
from typing import Any

from trainwright.cli.terminal.keys import Key
from trainwright.config.signature import Parameter, method_parameters
from trainwright.files import typed_path
from trainwright.targets import TRUSTED_TARGETS


def method_keys(target: str, method: str, *, besides: frozenset[str]) -> tuple[Key, ...]:
    """A key for each keyword that the method of that class has, but for those that are known.

    The help is in the annotation: `Annotated[float, "what it does"]`. What is not typed is None,
    for what the method does by itself.
    """
    taken = method_parameters(target, method)
    return tuple(
        _key(name, parameter) for name, parameter in list(taken.items())[1:] if name not in besides
    )


def shipped_keys(method: str, *, besides: frozenset[str]) -> tuple[Key, ...]:
    """Those of all tasks of ours, each once."""
    tasks = sorted(target for target in TRUSTED_TARGETS if target.startswith("trainwright.tasks."))
    found = [key for task in tasks for key in method_keys(task, method, besides=besides)]
    return tuple({key.name: key for key in found}.values())


def _key(name: str, parameter: Parameter) -> Key:
    annotation, told = parameter.annotation, ""
    if isinstance(annotation, ast.Subscript) and ast.unparse(annotation.value) == "Annotated":
        assert isinstance(annotation.slice, ast.Tuple)
        annotation, help_text = annotation.slice.elts[:2]
        told = str(help_text.value) if isinstance(help_text, ast.Constant) else ""
    usual = parameter.default
    if isinstance(usual, ast.Constant) and usual.value not in (None, ""):
        told = f"{told} ({ast.unparse(usual)})".lstrip()
    types = ast.unparse(annotation).split(" | ") if annotation is not None else []
    return Key(name, _parser([t for t in types if t != "None"]), None, told)


def _parser(types: list[str]) -> Callable[[str], Any]:
    kind = types[0] if len(types) == 1 else ""
    return _PARSERS.get(kind, str)


def _whole(text: str) -> int:
    try:
        return int(text)
    except ValueError:
        raise ValueError("it must be a whole number") from None


def _number(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise ValueError("it must be a number")
    return value


def _is_true(text: str) -> bool:
    if text not in ("true", "false"):
        raise ValueError("it must be true or false")
    return text == "true"


def _texts(text: str) -> tuple[str, ...]:
    """One, or several as a JSON list."""
    if not text.startswith("["):
        return (text,)
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, list) or not all(isinstance(one, str) for one in found):
        raise ValueError('it must be one text, or several as a list: ["one", "other"]')
    return tuple(found)


_PARSERS: dict[str, Callable[[str], Any]] = {
    "int": _whole,
    "float": _number,
    "bool": _is_true,
    "Path": typed_path,
    "Sequence[str]": _texts,
}

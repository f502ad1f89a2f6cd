"""Values checked against their annotations, and what a person reads when one does not fit."""

import dataclasses
import re
import typing
from collections.abc import Collection, Sequence
from typing import Any

from pydantic import ConfigDict, PydanticSchemaGenerationError, TypeAdapter, ValidationError

from trainwright.errors import ConfigError
from trainwright.wording import choices, nearest


def unknown_key(key: str, options: Collection[str]) -> ConfigError:
    """The error for a key that nothing reads, with what there is instead."""
    parent, _, name = key.rpartition(".")
    accepted = choices(f"{parent} accepts" if parent else "accepted are", name, options)
    return ConfigError(f"{key}: there is no such key{nearest(name, options)}\n{accepted}")


def empty(key: str) -> ConfigError:
    """The error for a text that is empty: as a path it would be the working directory."""
    return ConfigError(
        f"{key}= is empty; perhaps a shell variable is not set\n  write a value, or leave {key} out"
    )


def checked(value: Any, annotation: Any, adapter: TypeAdapter[Any] | None, key: str) -> Any:
    """The value converted to its annotation. Raises ConfigError where it does not fit."""
    if isinstance(value, bool) and not takes_bool(annotation):
        raise ConfigError(f"{key}={str(value).lower()}: it must not be true or false")
    if adapter is None:
        return value
    try:
        return adapter.validate_python(value)
    except ValidationError as error:
        raise explained(error, key, _names(annotation)) from None


def adapter_of(annotation: Any) -> TypeAdapter[Any] | None:
    """What checks values against an annotation; None for one that pydantic knows nothing of."""
    if dataclasses.is_dataclass(annotation):
        return TypeAdapter(annotation)  # whose config is its own
    try:
        return TypeAdapter(annotation, config=ConfigDict(arbitrary_types_allowed=True))
    except PydanticSchemaGenerationError:
        return None


def _names(annotation: Any) -> list[str]:
    """The fields of a dataclass; of anything else none."""
    is_one = dataclasses.is_dataclass(annotation)
    return [field.name for field in dataclasses.fields(annotation)] if is_one else []


def _section_names(kind: Any, place: Sequence[str]) -> list[str]:
    """The fields of the dataclass at a place within another."""
    for name in place:
        hint = typing.get_type_hints(kind)[name]
        kind = next(k for k in (hint, *typing.get_args(hint)) if dataclasses.is_dataclass(k))
    return _names(kind)


def takes_bool(annotation: Any) -> bool:
    """Whether an annotation has bool in it. (To pydantic, as to Python, True is also 1.)"""
    if annotation is Any or annotation is bool or isinstance(annotation, bool):
        return True
    return any(takes_bool(part) for part in typing.get_args(annotation))


def explained(
    error: ValidationError, key: str, options: Collection[str], *, inside: Any = None
) -> ConfigError:
    """The first thing that pydantic found wrong, in our words.

    `inside`: the dataclass that was to be made, where its sections are dataclasses too.
    """
    details = error.errors(include_url=False)
    first = details[0]
    # The place in the config, without the names of a union's branches.
    place = [str(part) for part in first["loc"] if isinstance(part, int) or part in options]
    if first["type"] == "extra_forbidden" or first["type"] == "unexpected_keyword_argument":
        place = [str(part) for part in first["loc"]]
        known = options if inside is None else _section_names(inside, place[:-1])
        return unknown_key(".".join([key, *place]), known)
    if first["type"] == "missing" and place:
        return ConfigError(f"{key}={first['input']!r}: it needs more values than that")
    # What an annotation takes besides plain values (a Tensor) can't be written in YAML.
    typed = [detail for detail in details if detail["type"] != "is_instance_of"] or details
    accepted = dict.fromkeys(_accepts(d) for d in typed if d["loc"] or len(typed) == 1)
    wanted = " or ".join(accepted) or _accepts(first)
    where = re.sub(r"\.(\d+)", r"[\1]", ".".join([key, *place]))
    return ConfigError(f"{where}={first['input']!r}: it must be {wanted}")


def _accepts(detail: Any) -> str:
    """What pydantic says that it wants, as the end of a sentence."""
    wanted = str(detail["msg"]).removeprefix("Value error, ").removeprefix("Input should be ")
    wanted = re.sub(r"(, unable to .*|, got a number .*| or an instance of .*)", "", wanted)
    if detail["type"] == "too_long":
        wanted = f"a list of at most {detail['ctx']['max_length']}"
    plainer = {
        "a valid tuple": "a list, such as [1, 2]",
        "a valid list": "a list, such as [1, 2]",
        "a valid number": "a number",
        "a valid integer": "a whole number",
        "a valid string": "text",
        "a valid boolean": "true or false",
        "a dictionary": "a section of keys",
    }
    return plainer.get(wanted, wanted)

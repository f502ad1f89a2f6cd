"""From config to objects: the only place that turns a `_target_` into one, checked key by key."""

import dataclasses
import errno
import importlib
import inspect
import sys
import typing
from collections.abc import Collection, Hashable, Mapping
from dataclasses import dataclass, replace
from functools import cache
from typing import Any, TypeVar

from omegaconf import OmegaConf
from omegaconf.errors import MissingMandatoryValue
from pydantic import TypeAdapter, ValidationError

from trainwright.config.validation import (
    adapter_of,
    checked,
    explained,
    takes_bool,
    unknown_key,
)
from trainwright.errors import ConfigError, DataError, TrainwrightError, own_code_failed, own_line
from trainwright.targets import TRUSTED_TARGETS
from trainwright.wording import nearest

T = TypeVar("T")


def plain(node: Any, *, resolve: bool = True) -> Any:
    """A config node as plain Python types, interpolations resolved, or as they were written.

    Raises ConfigError for a value that must be given (`???`) and was not.
    """
    if not OmegaConf.is_config(node):
        return node
    try:
        return OmegaConf.to_container(node, resolve=resolve, throw_on_missing=True)
    except MissingMandatoryValue as error:
        raise ConfigError(f"{error.full_key}: it must be given: {error.full_key}=...") from None


def settings(kind: type[T], node: Any, *, key: str) -> T:
    """Check a section of the config against a dataclass of settings and return one.

    Raises ConfigError naming the key, what it got and what it accepts.
    """
    values = plain(node)
    hints, adapter = _settings_checks(typing.cast(Hashable, kind))
    for name, value in values.items() if isinstance(values, dict) else ():
        if isinstance(value, bool) and name in hints and not takes_bool(hints[name]):
            raise ConfigError(f"{key}.{name}={str(value).lower()}: it must not be true or false")
    try:
        return typing.cast(T, adapter.validate_python(values))
    except ValidationError as error:
        raise explained(error, key, _field_names(kind), inside=kind) from None


@dataclass(frozen=True)
class Section:
    """A part of a config that describes an object: the target that makes it, and its arguments.

    `given`: the facts (the data's shape, the clock, ...) that are known where it is built; of these
    a target receives those that it has a parameter for. `allow`: refuse every other target; for
    configs that come from a run folder.
    """

    key: str
    node: Mapping[str, Any]
    given: Collection[str] = ()
    allow: Collection[str] | None = None

    @property
    def target(self) -> Any:
        """What `_target_` names."""
        return self.node.get("_target_")

    @property
    def is_ours(self) -> bool:
        """Whether trainwright or torch makes it, and not code of the user's own."""
        return isinstance(self.target, str) and self.target in TRUSTED_TARGETS

    def check(self, kind: type[Any]) -> tuple[Any, dict[str, Any]]:
        """Find the target, which must make a `kind`, and check the arguments' names and types.

        Nothing is made yet, so that a mistake is found before any data is fetched. Returns what to
        call and its arguments, converted. Raises ConfigError as `build` does.
        """
        arguments, target, key = dict(self.node), self.target, self.key
        arguments.pop("_target_", None)
        if not isinstance(target, str):
            raise ConfigError(
                f"{key}._target_: it must name a class, such as mine.Net\n  it is {target!r}"
            )
        if self.allow is not None and target not in self.allow:
            raise ConfigError(
                f"{key}._target_: this run wants to build {target}, which is not one of "
                "trainwright's\n"
                f"  if you know that class and trust it, add: 'trust=[{target}]'"
            )
        factory = _find(target, kind, key)
        parameters = _parameters(factory)
        takes_any = any(p.kind is p.VAR_KEYWORD for p in parameters.values())
        accepted = [name for name in parameters if name not in self.given]
        for name in arguments:
            if name not in parameters and not takes_any:
                raise unknown_key(f"{key}.{name}", accepted)
        hints = _hints(factory)
        for name, value in arguments.items():
            if name in hints and not _is_nested(value):
                adapter = _adapter(factory, name)
                arguments[name] = checked(value, hints[name], adapter, f"{key}.{name}")
        return factory, arguments

    def build(self, kind: type[T], facts: Mapping[str, Any]) -> T:
        """Make the object: a `kind`, by a class derived from it or a function annotated so.

        `facts`: those that are `given`. Raises ConfigError naming the key, what it got and what it
        accepts.
        """
        factory, arguments = self.check(kind)
        target = f"{factory.__module__}.{factory.__qualname__}"
        hints = _hints(factory)
        for name, value in arguments.items():
            if _is_nested(value):
                wanted = hints.get(name)
                classes = (t for t in (wanted, *typing.get_args(wanted)) if inspect.isclass(t))
                nested = replace(self, key=f"{self.key}.{name}", node=value)
                arguments[name] = nested.build(next(classes, kind), facts)
        parameters = _parameters(factory)
        known = {name: fact for name, fact in facts.items() if name in parameters}
        arguments = {**known, **arguments}
        for name, parameter in parameters.items():
            is_variadic = parameter.kind in (parameter.VAR_KEYWORD, parameter.VAR_POSITIONAL)
            if parameter.default is parameter.empty and not is_variadic and name not in arguments:
                raise ConfigError(
                    f"{self.key}.{name}: {target} needs it, and nothing gives it a value\n"
                    f"  write it in the config; given by itself is: {', '.join(facts) or 'nothing'}"
                )
        try:
            made = factory(**arguments)
        except TrainwrightError:
            raise
        except ValueError as error:
            raise ConfigError(f"{self.key}: {error}") from error
        except OSError as error:
            if self.key != "data" or error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EROFS):
                raise  # nothing that was to be read
            where = error.filename or target
            raise DataError(f"data: {where}: {error.strerror or error}") from error
        except Exception as error:
            if self.is_ours or own_line(error) is None:
                raise
            raise own_code_failed(f"{self.key}: {target} fails when it is made", error) from error
        if not isinstance(made, kind):
            raise ConfigError(
                f"{self.key}._target_: {target} made a {type(made).__name__}, no {_name(kind)}"
            )
        if hasattr(kind, "named_parameters") and not hasattr(made, "_parameters"):
            raise ConfigError(
                f"{self.key}._target_: the constructor of {target} must begin with "
                "super().__init__()"
            )
        return made


def _is_nested(value: Any) -> bool:
    """Whether a value is itself a section that describes an object."""
    return isinstance(value, dict) and "_target_" in value


def _find(target: str, kind: type[Any], key: str) -> Any:
    """Import what `target` names and check, before it is called, that it makes a `kind`.

    A module is imported by its own name, so that no alias (`logging.os.system`) is followed.
    """
    if not all(part.isidentifier() for part in target.split(".")):
        raise ConfigError(
            f"{key}._target_: it must name a class, such as mine.Net\n  it is {target!r}"
        )
    if target.split(".")[0] in sys.stdlib_module_names:
        # Nothing there makes what we build, and some of it acts as soon as it is imported.
        raise ConfigError(
            f"{key}._target_: {target} is part of Python's own library and makes no {_name(kind)}\n"
            f"  it must name a class derived from {_name(kind)}, such as mine.Net"
        )
    module_name, _, name = target.rpartition(".")
    try:
        module = importlib.import_module(module_name) if module_name else None
    except ModuleNotFoundError as error:
        raise ConfigError(
            f"{key}._target_: cannot import {module_name!r} ({error})\n"
            "  a module of your own is found in the working directory"
        ) from error
    except ImportError as error:
        raise ConfigError(
            f"{key}._target_: {module_name} cannot be imported\n  {error.msg}\n"
            "  what has moved since 0.1 stands in docs/from-0.1.md"
        ) from error
    except SyntaxError as error:
        raise ConfigError(
            f"{key}._target_: {module_name} is not valid Python: {error.msg}\n"
            f"  {error.filename}:{error.lineno}: {(error.text or '').strip()}"
        ) from error
    except Exception as error:
        if own_line(error) is None:
            raise
        raise own_code_failed(f"{key}._target_: {module_name} cannot be imported", error) from error
    found = getattr(module, name, None)
    if found is None:
        public = [n for n in vars(module) if not n.startswith("_")] if module else []
        raise ConfigError(f"{key}._target_: there is no {target}{nearest(name, public)}")
    made = found if inspect.isclass(found) else _hints(found).get("return")
    if inspect.isabstract(found) and hasattr(found, "score") and hasattr(found, "showcase"):
        raise ConfigError(
            f"{key}._target_: {target} is a task as 0.1 had them: it has score(values), and not "
            "metrics()\n  what to change stands in docs/from-0.1.md"
        )
    if inspect.isabstract(found):
        raise ConfigError(f"{key}._target_: {target} is abstract; name a class derived from it")
    if not (inspect.isclass(made) and issubclass(made, kind)):
        raise ConfigError(
            f"{key}._target_: {target} does not make a {_name(kind)}\n"
            f"  it must be a class derived from {_name(kind)}, or a function annotated "
            f"'-> {kind.__name__}'"
        )
    return found


# A sweep checks a thousand configs against the same few annotations.
@cache
def _settings_checks(kind: Any) -> tuple[dict[str, Any], TypeAdapter[Any]]:
    """The annotations of a dataclass of settings, and what checks values against all of them."""
    return typing.get_type_hints(kind, include_extras=True), TypeAdapter(kind)


@cache
def _adapter(factory: Any, name: str) -> TypeAdapter[Any] | None:
    return adapter_of(_hints(factory)[name])


@cache
def _parameters(factory: Any) -> Mapping[str, inspect.Parameter]:
    return inspect.signature(factory).parameters


@cache
def _hints(function: Any) -> dict[str, Any]:
    """The annotations of a class's constructor or of a function; none where they don't resolve."""
    try:
        called = function.__init__ if inspect.isclass(function) else function
        return typing.get_type_hints(called, include_extras=True)
    except (NameError, TypeError, AttributeError):
        return {}


def _field_names(kind: type[Any]) -> list[str]:
    """The names of a settings dataclass's fields, and of those of nested settings."""
    names = []
    for field in dataclasses.fields(kind):
        names.append(field.name)
        if dataclasses.is_dataclass(field.type):
            names += [inner.name for inner in dataclasses.fields(field.type)]
    return names


def _name(kind: type[Any]) -> str:
    return f"{kind.__module__.removesuffix('.module').replace('.modules', '')}.{kind.__name__}"

"""What a request may say of how examples are made up: the keywords of the task's `generate`."""

import inspect
import math
import typing
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

from pydantic import ConfigDict, Field, ValidationError, create_model

from trainwright.errors import ConfigError
from trainwright.tasks.task import Task
from trainwright.wording import printable

MOST_MADE = 256  # examples a request
MOST_NUMBER = 100_000  # of any option, such as max_tokens
MOST_LETTERS = 20_000
_GIVEN = {"seed", "classes", "frames"}


class Options:
    """The keywords by name and type, read from the method; one that names a file is none."""

    def __init__(self, task: Task) -> None:
        self.classes: Sequence[str] = tuple(getattr(task, "generated_classes", ()))
        method: Any = task.generate
        _, *parameters = inspect.signature(method).parameters.values()
        try:
            hints = typing.get_type_hints(method, include_extras=True)
        except Exception:  # annotations of the user's own may name what is not there
            hints = {}
        fields: dict[str, Any] = {
            "n": (Annotated[int | None, Field(ge=1, le=MOST_MADE)], None),
            "seed": (Annotated[int, Field(ge=0, lt=2**63)], 0),
        }
        if self.classes:
            fields["class"] = (str | int | list[str | int] | None, None)
        for one in parameters:
            hint = hints.get(one.name, Any)
            if one.name in _GIVEN or _names_a_file(hint):
                continue
            told = [text for text in getattr(hint, "__metadata__", ()) if isinstance(text, str)]
            usual = ... if one.default is one.empty else one.default
            fields[one.name] = (hint, Field(usual, description=", ".join(told) or None))
        config = ConfigDict(extra="forbid", allow_inf_nan=False, protected_namespaces=())
        self._model = create_model("Options", __config__=config, **fields)
        self.schema: dict[str, Any] = self._model.model_json_schema()
        if self.classes:
            self.schema["properties"]["class"] = {"enum": list(self.classes)}

    def read(self, given: Any) -> tuple[int | None, int, list[str], dict[str, Any]]:
        """How many, the seed, the classes by name or number, and all else. Raises ConfigError."""
        if not isinstance(given, Mapping):
            raise ConfigError('the body must be an object, such as {"seed": 1}')
        try:
            values = self._model.model_validate(dict(given)).model_dump(exclude_unset=True)
        except ValidationError as error:
            first = error.errors(include_url=False, include_input=False)[0]
            where = printable(str(first["loc"][0]))[:40] if first["loc"] else "options"
            raise ConfigError(f"{where}: {first['msg'][:200]}") from None
        for name, value in values.items():
            if name != "seed" and _is_beyond(value):
                raise ConfigError(f"{name}: that is more than a request may ask for")
        chosen = values.pop("class", None)
        classes = chosen if isinstance(chosen, list) else [] if chosen is None else [chosen]
        return values.pop("n", None), values.pop("seed", 0), [str(c) for c in classes], values


def _names_a_file(hint: Any) -> bool:
    return hint is Path or any(map(_names_a_file, typing.get_args(hint)))


def _is_beyond(value: Any) -> bool:
    if isinstance(value, int | float):
        return not math.isfinite(value) or abs(value) > MOST_NUMBER
    if isinstance(value, str):
        return len(value) > MOST_LETTERS
    return isinstance(value, Sequence) and (len(value) > 100 or any(map(_is_beyond, value)))

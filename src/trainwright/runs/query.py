"""Runs are filtered and sorted by any key of their config, any metric, and what is known of them.

A condition is `key=value`, `!=`, `<`, `<=`, `>` or `>=`. Equality takes several values with commas
between them, and * and ? as wildcards: `model=gan,mlp_gan`, `name=*sweep*`. A list is written as
for `train`: `model.widths=[512,256]`.
"""

import fnmatch
import math
import operator
import re
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from trainwright.errors import ConfigError
from trainwright.runs.ranking import direction
from trainwright.runs.record import STATUSES, UNKNOWN, Record
from trainwright.wording import nearest, printable

_CONDITION = re.compile(r"([^=<>!]+?)\s*(!=|<=|>=|=|<|>)\s*(.*)", re.DOTALL)
_AGE = re.compile(r"(\d+(?:\.\d+)?)\s*([smhdw])")
_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}
_COMPARED: dict[str, Callable[[float, float], bool]] = {
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}
_NOTHING = object()
MISSING = None  # what a run says of a key that it does not have, and of one that is null

# What there is besides config and metrics.
FIELDS: dict[str, Callable[[Record], Any]] = {
    "name": lambda run: run.name,
    "path": lambda run: str(run.path),
    "status": lambda run: run.status,
    "objective": lambda run: run.objective,
    "step": lambda run: run.step,
    "steps": lambda run: run.steps,
    "seconds": lambda run: run.number("seconds"),
    "examples_per_second": lambda run: run.number("examples_per_second"),
    "age": lambda run: time.time() - run.started,
}


@dataclass(frozen=True)
class Condition:
    """What a run must fulfil to be listed."""

    key: str
    operator: str
    value: str

    def holds(self, run: Record) -> bool:
        """Whether it does. A run that does not have the key fulfils only `!=`, and `=null`."""
        found = value_of(run, self.key)
        if self.operator in ("=", "!="):
            return _equal(found, self.value) == (self.operator == "=")
        if not isinstance(found, int | float) or isinstance(found, bool):
            return False
        limit = _amount(self.key, self.value)
        return _COMPARED[self.operator](found, limit)


def parse_condition(word: str) -> Condition:
    """The condition that a word of the command line says. Raises ConfigError."""
    found = _CONDITION.fullmatch(word)
    if found is None:
        raise ConfigError(
            f"{printable(word)}: it is not a filter; write key=value, or 'key>value' in quotes\n"
            "  such as model=gan, status!=failed, 'validation/accuracy>0.98', 'age<2d'"
        )
    key, sign, value = found.groups()
    if sign not in ("=", "!="):
        _amount(key, value)
    elif key == "status":
        _check_status(value)
    return Condition(key, sign, value)


def _check_status(value: str) -> None:
    """Raise ConfigError for what no run can be: `status!=finishd` would hold for every one."""
    known = (*STATUSES, UNKNOWN)
    for option in map(str.strip, value.split(",")):
        if not fnmatch.filter(known, option):
            raise ConfigError(
                f"status={printable(option)}: there is no such status{nearest(option, known)}\n"
                f"  a run is one of: {', '.join(known)}"
            )


def require_spared(conditions: Sequence[Condition], runs: Sequence[Record]) -> None:
    """Raise ConfigError for a `!=` of something that no run is: a typing error would spare none."""
    for condition in conditions:
        if condition.operator != "!=" or condition.key == "status":  # any status may be absent
            continue
        values = [value_of(run, condition.key) for run in runs]
        texts = {str(value) for value in values}
        if condition.value in texts:
            continue
        for option in _options(condition.value):
            if runs and not any(_matches(value, option) for value in values):
                raise ConfigError(
                    f"{printable(condition.key)}!={printable(option)}: no run has that value"
                    f"{nearest(option, texts)}\n  so this excludes nothing; leave it out"
                )


def value_of(run: Record, key: str) -> Any:
    """What a run has under a key: a field, a metric, a group's option or a key of its config."""
    if key in FIELDS:
        return FIELDS[key](run)
    if "/" in key:
        return run.metrics.get(key, MISSING)
    if key in run.choices:
        return run.choices[key]
    found = run.setting(key, _NOTHING)
    return run.metrics.get(f"validation/{key}", MISSING) if found is _NOTHING else found


def require_known(keys: Sequence[str], runs: Sequence[Record]) -> None:
    """Raise ConfigError for a key that not one of the runs has, naming the nearest that one has."""
    for key in keys:
        if not runs or any(_has(run, key) for run in runs):
            continue
        known = set(FIELDS)
        for run in runs:
            known |= run.metrics.keys() | run.choices.keys() | run.settings.keys()
        last = {name.rpartition(".")[2]: name for name in sorted(known)}
        meant = f"; did you mean {last[key]}?" if key in last else nearest(key, known)
        raise ConfigError(
            f"{printable(key)}: no run has such a key{meant}\n"
            "  keys are those of the config (optimizer.lr), metrics (validation/accuracy,\n"
            f"  test/accuracy), and {', '.join(FIELDS)}"
        )


def _has(run: Record, key: str) -> bool:
    if key in FIELDS or key in run.metrics or key in run.choices:
        return True
    return f"validation/{key}" in run.metrics or run.setting(key, _NOTHING) is not _NOTHING


def sort_runs(runs: Sequence[Record], key: str) -> list[Record]:
    """The runs by a key: metrics with the best first, anything else upwards; `-key` turns it round.

    Those that do not have it come last.
    """
    turned, name = key.startswith("-"), key.removeprefix("-")
    values = {id(run): value_of(run, name) for run in runs}
    having = [run for run in runs if values[id(run)] is not MISSING]
    rest = [run for run in runs if values[id(run)] is MISSING]
    is_metric = "/" in name or any(f"validation/{name}" in run.metrics for run in runs)
    if is_metric and name not in FIELDS and direction(name, runs):
        turned = not turned
    return [*sorted(having, key=lambda r: _order(values[id(r)]), reverse=turned), *rest]


def _order(value: Any) -> tuple[int, float, str]:
    """Numbers before text, each in its own order."""
    if isinstance(value, int | float) and not math.isnan(value):
        return (0, float(value), "")
    return (1, 0.0, str(value))


def _equal(found: Any, wanted: str) -> bool:
    return str(found) == wanted or any(_matches(found, option) for option in _options(wanted))


def _options(text: str) -> list[str]:
    """The values that a text names: what stands between its commas, but for those in brackets."""
    options, depth = [""], 0
    for letter in text:
        depth += {"[": 1, "]": -1}.get(letter, 0)
        if letter == "," and depth <= 0:
            options.append("")
        else:
            options[-1] += letter
    return [option.strip() for option in options]


def _matches(found: Any, wanted: str) -> bool:
    if found is None or isinstance(found, bool):
        return wanted.lower() == {None: "null", True: "true", False: "false"}[found]
    if isinstance(found, int | float):
        try:
            return float(wanted) == found
        except ValueError:
            return False
    if isinstance(found, list) and wanted.startswith("[") and wanted.endswith("]"):
        items = _options(wanted[1:-1]) if wanted[1:-1].strip() else []
        return len(items) == len(found) and all(map(_matches, found, items))
    return fnmatch.fnmatchcase(str(found), wanted.replace("[", "[[]"))  # only * and ? are wild


def _amount(key: str, text: str) -> float:
    """A number; for an age a time such as 2d, since nobody can tell what 30 would be."""
    age = _AGE.fullmatch(text) if key == "age" else None
    if age is not None:
        return float(age[1]) * _SECONDS[age[2]]
    try:
        if key != "age":
            return float(text)
    except ValueError:
        pass
    wanted = "a time such as 30m, 12h or 2d" if key == "age" else "a number"
    raise ConfigError(f"{printable(key)}: {printable(text)!r} must be {wanted}")

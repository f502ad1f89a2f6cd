"""What a checkpoint's metadata must look like: it may come from anyone."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from trainwright.data.dataset import DataInfo
from trainwright.errors import CheckpointError

Check = Callable[[Any], bool]


def check_metadata(path: Path, metadata: Mapping[str, Any]) -> None:
    """Raise CheckpointError that names a field whose value is not of its kind.

    Fields that are missing are the business of those who need them.
    """
    _check(path, "", metadata, _FIELDS)


def _check(path: Path, where: str, values: Mapping[str, Any], fields: Mapping[str, Any]) -> None:
    for name, wanted in fields.items():
        if name not in values:
            continue
        value, key = values[name], f"{where}{name}"
        if isinstance(wanted, dict):
            if not isinstance(value, dict):
                raise _wrong(path, key)
            _check(path, f"{key}.", value, wanted)
        elif not wanted(value):
            raise _wrong(path, key)


def _wrong(path: Path, key: str) -> CheckpointError:
    return CheckpointError(f"{path} is no checkpoint of trainwright: its {key} is of a wrong kind")


def _is_text(value: Any) -> bool:
    return isinstance(value, str)


def _is_count(value: Any) -> bool:
    return type(value) is int and 0 <= value < 2**53


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _is_number_or_null(value: Any) -> bool:
    return value is None or _is_number(value)


def _is_named_number(value: Any) -> bool:
    return (
        isinstance(value, list)
        and len(value) == 2
        and _is_text(value[0])
        and _is_number_or_null(value[1])
    )


def _are(check: Check) -> Check:
    """Whether a value is a list of such."""
    return lambda value: isinstance(value, list) and all(map(check, value))


def _map_of(check: Check) -> Check:
    """Whether a value is an object of such."""
    return lambda value: isinstance(value, dict) and all(map(check, value.values()))


def _is_evaluation(value: Any) -> bool:
    return value is None or (
        isinstance(value, dict)
        and _is_count(value.get("step"))
        and _map_of(_is_number_or_null)(value.get("metrics"))
    )


def _are_facts(value: Any) -> bool:
    try:
        DataInfo.of_plain(value)
    except ValueError:
        return False
    return True


def _is_sum_of_metrics(value: Any) -> bool:
    return (
        isinstance(value, dict)
        and _are(_is_text)(value.get("names"))
        and _is_count(value.get("count"))
        and _are(_is_number_or_null)(value.get("sums"))
    )


_FIELDS: dict[str, Any] = {
    "name": _is_text,
    "config": {},
    "placement": _is_text,
    "versions": _map_of(_is_text),
    "data": _are_facts,
    "progress": {
        "step": _is_count,
        "to_be_done": lambda value: value is None or _are(_is_named_number)(value),
        "learning_rates": _map_of(_is_number),
        "schedule": _map_of(_is_number_or_null),
        "scale": {"value": _is_number, "num_good": _is_count},
        "recovery": {
            "num_skipped": _is_count,
            "skipped_in_a_row": _is_count,
            "num_rollbacks": _is_count,
            "rolled_back_to": lambda value: value is None or _is_count(value),
            "lr_scale": lambda value: _is_number(value) and 0 <= value <= 1,
        },
        "means": _are(_is_sum_of_metrics),
        "last": _is_evaluation,
        "best": _is_evaluation,
    },
    "lineage": {"name": _is_text, "step": _is_count, "taken": _are(_is_text)},
    "hooks": _map_of(lambda value: isinstance(value, dict)),
}

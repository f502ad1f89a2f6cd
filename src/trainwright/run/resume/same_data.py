"""Whether the data are still those that a checkpoint was made with: what they are, and which."""

from collections.abc import Mapping
from typing import Any

from trainwright.data.dataset import DataInfo, Dataset, fingerprint
from trainwright.errors import DataError
from trainwright.wording import printable

# Files that come or go, or another seed of the split, draw all three splits anew.
REDRAWN = "what it was trained on may be among the validation and test examples now"


def require_same_kind(metadata: Mapping[str, Any], info: DataInfo) -> None:
    """Raise DataError where what was learned would mean something else of these data.

    A network knows classes and columns by their places alone: with others it would go on to learn
    and say the wrong names.
    """
    then = metadata.get("data")
    known = then if isinstance(then, dict) else {}
    for fact in ("input_shape", "target", "class_names", "feature_names"):
        before, now = (_plain(value) for value in (known.get(fact), getattr(info, fact)))
        if fact in known and before != now:
            raise DataError(
                f"data: {info.name} has other {fact.replace('_', ' ')} than this run was trained "
                f"with: {_difference(before, now)}\n"
                "  put the data back as they were, or begin a new run with its weights: runs fork"
            )


def is_changed(metadata: Mapping[str, Any], dataset: Dataset) -> bool:
    """Whether its examples, or the splits that they are in, are other ones than then.

    False where that is not known, as of an old checkpoint.
    """
    then = metadata.get("environment")
    before = then.get("data") if isinstance(then, dict) else None
    return before is not None and before != fingerprint(dataset)


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, list | tuple) else value


def _difference(before: Any, now: Any) -> str:
    """The first place in which two lists differ, or both values."""
    if not (isinstance(before, list) and isinstance(now, list)):
        return f"{_name(before)} then, {_name(now)} now"
    if len(before) != len(now):
        return f"{len(before)} then, {len(now)} now"
    place, old, new = next(
        (i, old, new) for i, (old, new) in enumerate(zip(before, now, strict=True)) if old != new
    )
    return f"number {place} was {_name(old)}, and is {_name(new)} now"


def _name(value: Any) -> str:
    return printable(str(value))[:60]

"""One job of a sweep: its point, its frozen config, its identity."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Job:
    """A run that a sweep wants. `config` is resolved and complete: no YAML file is read again.

    `point` holds what is swept, as it would be typed; `overrides` all that was typed, without what
    concerns the sweep itself. `trial` is the number of the search's trial that it belongs to.
    The list of jobs in a sweep's folder has them without their configs.
    """

    id: str
    number: int
    name: str
    point: Mapping[str, str]
    overrides: Sequence[str]
    config: Mapping[str, Any] = field(default_factory=dict)
    trial: int | None = None

    @property
    def label(self) -> str:
        """What tells this job from the others of the sweep, for a line."""
        return label(self.point) or self.name

    @property
    def num_ranks(self) -> int:
        """How many processes share it (trainer.devices; with auto a job has one)."""
        devices = self.config["trainer"].get("devices")
        return devices if isinstance(devices, int) else 1


def label(point: Mapping[str, str]) -> str:
    """What is swept in one line, for the eye."""
    return " ".join(f"{key}={short(text)}" for key, text in point.items())


def typed_first(config: Mapping[str, Any]) -> list[str]:
    """What a command line begins with that makes runs of such a config."""
    fork = config.get("fork")
    return ["train"] if fork is None else ["runs", "fork", fork["checkpoint"]]


def short(text: str) -> str:
    """A typed value for the eye: a text without quotes, a number of a search with four digits."""
    if len(text) > 1 and text[0] == text[-1] == '"':
        return text[1:-1]
    try:
        is_exact = len(text) <= 8 or text.lstrip("+-").isdigit()  # a seed may be long
        return text if is_exact else f"{float(text):.4g}"
    except ValueError:
        return text

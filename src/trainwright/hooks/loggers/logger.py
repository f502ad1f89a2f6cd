"""The contract of a logger, and what all of them share: the missing package, the remembered run."""

import json
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from trainwright.errors import require_extra
from trainwright.files import write_text
from trainwright.runs.stored import read_json_if_any

MEMORY = "loggers.json"  # in the run folder: under which id each logger knows the run


@dataclass(frozen=True)
class LoggedRun:
    """What a logger is told of the run: `step` is how far it was when it was resumed, else 0."""

    folder: Path
    name: str
    config: Mapping[str, Any]
    step: int

    def recall(self, key: str) -> str | None:
        """What was remembered under `key` before the run was resumed; None if it is new there."""
        value = self._remembered().get(key)
        return value if isinstance(value, str) else None

    def remember(self, key: str, value: str) -> None:
        """Keep `value` in the run folder, so that a resumed run finds it. Raises DiskError."""
        text = json.dumps({**self._remembered(), key: value}, indent=2)
        write_text(self.folder / MEMORY, text + "\n")

    def _remembered(self) -> dict[str, Any]:
        return read_json_if_any(self.folder / MEMORY)


class Logger(ABC):
    """One place that metrics go to.

    `check` is called before a run begins, and says what is missing. All other methods are called
    in a thread of their own, which training does not wait for, and may raise anything: that is
    reported and changes nothing. They are called in this order: `start`, then `scalars` and
    `image` with increasing steps, then `finish`.
    """

    name: ClassVar[str]  # of the option logger=<name>, of the package, and of the extra

    def check(self) -> None:
        """Raise ConfigError for what would keep every run from being logged: no package, no key."""
        require_extra(f"logger={self.name}", self.name, extra=self.name)

    @abstractmethod
    def start(self, run: LoggedRun) -> None:
        """Open the run, or the one that was opened before it was resumed; send its config."""

    @abstractmethod
    def scalars(self, step: int, values: Mapping[str, float]) -> None:
        """Send numbers by name, as `metrics.jsonl` names them."""

    @abstractmethod
    def image(self, step: int, name: str, path: Path) -> None:
        """Send the picture that lies at `path`."""

    @abstractmethod
    def finish(self, summary: Mapping[str, Any]) -> None:
        """Send how the run ended (summary.json), and close it."""


def flat(config: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """A config's values by their dotted keys: {"model": {"width": 8}} as {"model.width": 8}."""
    values: dict[str, Any] = {}
    for key, value in config.items():
        name = f"{prefix}{key}"
        values |= flat(value, f"{name}.") if isinstance(value, Mapping) else {name: value}
    return values


def final_scalars(summary: Mapping[str, Any]) -> dict[str, float]:
    """The numbers of a summary by name: `test/<metric>`, `best/<metric>`, steps and times."""
    best = summary.get("best") or {}
    found: dict[str, Any] = {
        **{f"test/{name}": value for name, value in (summary.get("test") or {}).items()},
        **{f"best/{name}": value for name, value in (best.get("metrics") or {}).items()},
        "best/step": best.get("step"),
        **{name: summary.get(name) for name in ("step", "total_seconds", "examples_per_second")},
    }
    return {name: value for name, value in found.items() if isinstance(value, int | float)}

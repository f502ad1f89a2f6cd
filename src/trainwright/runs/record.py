"""One run as its folder tells of it, read as far as is asked.

What is damaged or half-written is missing, not fatal: `problems` says what could not be read.
"""

import functools
import re
import time
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import Any

from trainwright.config_folder import config_folders, group_options
from trainwright.errors import CheckpointError
from trainwright.runs.lock import holder
from trainwright.runs.metrics import last_row
from trainwright.runs.stored import UnreadableError, is_number, read_json, read_text, read_yaml
from trainwright.wording import printable

STATUSES = ("running", "finished", "stopped", "pruned", "failed", "killed")
UNKNOWN = "unknown"
LATEST = 2.0**37  # that a run can have begun, in seconds since 1970: a year of four digits
_DATED = re.compile(r"(\d{4}-\d\d-\d\d)/(\d{6})-")
_CHOICE = re.compile(r"(\w+)=([\w./-]+)")


class Record:
    """A run folder. `name` tells it from the others of its root: the path from there.

    `named_checkpoint`: the file in it that was meant, where that was said.
    """

    def __init__(
        self, path: Path, *, root: Path | None = None, named_checkpoint: Path | None = None
    ) -> None:
        self.path = path
        self._named_checkpoint = named_checkpoint
        # (A path such as . has no name.)
        own_name = path.name if path.name not in ("", "..") else path.resolve().name
        self.name = path.relative_to(root).as_posix() if root is not None else own_name
        self.problems: list[str] = []
        self._sections: dict[str, dict[str, Any]] = {}

    @cached_property
    def summary(self) -> dict[str, Any]:
        """What summary.json holds; empty where there is none that can be read."""
        return self._read("summary.json", read_json)

    @cached_property
    def config(self) -> dict[str, Any]:
        """What config.yaml holds, as plain types; nothing in it is resolved or built."""
        return self._read("config.yaml", read_yaml)

    @cached_property
    def overrides(self) -> list[str]:
        """What was typed, an override each."""
        try:
            return read_text(self.path / "overrides.txt").splitlines()
        except (FileNotFoundError, UnreadableError):
            return []

    @cached_property
    def settings(self) -> dict[str, Any]:
        """The config with its sections flattened: `optimizer.lr`."""
        return _flat(self.config)

    def setting(self, key: str, default: Any = None) -> Any:
        """What the config has under a key such as `optimizer.lr`; only its section is read."""
        section = key.partition(".")[0]
        if section not in self._sections:
            read = functools.partial(read_yaml, section=section)
            self._sections[section] = _flat(self._read("config.yaml", read))
        return self._sections[section].get(key, default)

    @cached_property
    def choices(self) -> dict[str, str]:
        """Which option of the groups model and data it is made of, such as gan and digits.

        As it was typed, or named by default, or as that option's file has the same target.
        """
        found = (_CHOICE.fullmatch(override) for override in self.overrides)
        typed = {match[1]: match[2] for match in found if match is not None}
        named = str(self.summary.get("name")).split("-")
        default = dict(zip(("model", "data"), named, strict=False)) if len(named) == 2 else {}
        chosen = {}
        for group in ("model", "data"):
            if group not in typed and default.get(group) in _options(group):
                typed[group] = default[group]
            chosen[group] = typed.get(group) or self._option(group)
        return chosen

    @cached_property
    def status(self) -> str:
        """One of STATUSES, or `unknown`; `killed` if it says `running` and no process holds it."""
        status = self.summary.get("status")
        if status == "running" and holder(self.path) is None:
            return "killed"
        return status if isinstance(status, str) and status in STATUSES else UNKNOWN

    @cached_property
    def started(self) -> float:
        """When it began, in seconds since 1970."""
        stored = self.summary.get("started")
        if isinstance(stored, str):
            try:
                return min(max(0.0, datetime.fromisoformat(stored).timestamp()), LATEST)
            except (ValueError, OverflowError, OSError):
                pass
        dated = _DATED.search(self.path.absolute().as_posix())
        if dated is not None:
            try:
                return time.mktime(time.strptime(f"{dated[1]} {dated[2]}", "%Y-%m-%d %H%M%S"))
            except (ValueError, OverflowError):
                pass
        try:
            return (self.path / "config.yaml").stat().st_mtime
        except OSError:
            return 0.0

    @property
    def objective(self) -> str | None:
        """The validation metric by which the run ranks its checkpoints."""
        metric = self.summary.get("objective")
        return metric if isinstance(metric, str) else None

    @property
    def step(self) -> int | None:
        """How far it has come: by its summary, or by its metrics while that says nothing."""
        known = _count(self.summary.get("step"))
        return known if known is not None else _count(last_row(self.path).get("step"))

    @property
    def steps(self) -> int | None:
        """How far it is to go."""
        return _count(self.summary.get("steps"))

    def number(self, key: str) -> float | None:
        """A finite number of the summary, such as `seconds`; None where there is none."""
        return numbers(self.summary).get(key)

    @cached_property
    def metrics(self) -> dict[str, float]:
        """`validation/...` of the best checkpoint, `last/...` and `test/...`: finite numbers."""
        parts = {"validation": self.evaluation("best"), "last": self.evaluation("last")}
        parts["test"] = numbers(self.summary.get("test"))
        return {f"{part}/{name}": v for part, found in parts.items() for name, v in found.items()}

    @property
    def epsilon(self) -> float | None:
        """What a private run has spent so far; None for others."""
        return numbers(self.summary.get("privacy")).get("epsilon")

    @property
    def meant(self) -> Path:
        """The folder, or the one checkpoint in it that was named."""
        return self._named_checkpoint or self.path

    def checkpoint(self, which: str) -> Path:
        """The file of `best`, `last`, `best-2` and so on, or the one that was meant by RUN.

        Where there is no best one yet it is the last. Raises CheckpointError where there is none.
        """
        if self._named_checkpoint is not None:
            return self._named_checkpoint
        folder = self.path / "checkpoints"
        for name in (which, "last") if which == "best" else (which,):
            path = folder / f"{name}.safetensors"
            if path.is_file():
                return path
        if others := sorted(path.stem for path in folder.glob("*.safetensors")):
            raise CheckpointError(
                f"{printable(str(self.path))} has no checkpoint {printable(which)}\n"
                f"  there are: {', '.join(map(printable, others))}; "
                "trainer.keep=3 keeps best, best-2 and best-3"
            )
        raise CheckpointError(
            f"{self.path} has no checkpoint\n"
            f"  its summary says that the run is {self.status}; nothing of it was saved"
        )

    def evaluation(self, which: str) -> dict[str, float]:
        """The metrics of the `best` or `last` evaluation."""
        stored = self.summary.get(which)
        return numbers(stored.get("metrics")) if isinstance(stored, dict) else {}

    def _option(self, group: str) -> str:
        node = self.config.get(group)
        target = node.get("_target_") if isinstance(node, dict) else None
        if not isinstance(node, dict) or not isinstance(target, str):
            return UNKNOWN
        name = node.get("name")
        options = _options_by_target(group)
        return options.get((target, str(name))) or options.get((target, "")) or target

    def _read(self, name: str, read: Any) -> dict[str, Any]:
        try:
            content: dict[str, Any] = read(self.path / name)
        except FileNotFoundError:
            problem = f"{name} is missing"
        except UnreadableError as error:
            problem = f"{name} {error}"
        else:
            return content
        if problem not in self.problems:
            self.problems.append(problem)
        return {}


def _count(value: Any) -> int | None:
    return value if type(value) is int and 0 <= value < 2**63 else None


@functools.cache
def _options(group: str) -> frozenset[str]:
    return frozenset(group_options(group))


@functools.cache
def _options_by_target(group: str) -> dict[tuple[str, str], str]:
    """The options of a group by their target, and by the name in them where there is one."""
    found: dict[tuple[str, str], str] = {}
    for folder in config_folders():
        for path in sorted((folder / group).glob("*.yaml")):
            try:
                option = read_yaml(path)
            except (UnreadableError, FileNotFoundError):
                continue
            found.setdefault((str(option.get("_target_")), str(option.get("name", ""))), path.stem)
    return found


def numbers(values: Any) -> dict[str, float]:
    """Those entries of a mapping that are finite numbers; of anything else none."""
    if not isinstance(values, dict):
        return {}
    return {
        name: float(value)
        for name, value in values.items()
        if isinstance(name, str) and is_number(value) and abs(value) < 1e300
    }


def _flat(node: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    values: dict[str, Any] = {}
    for key, value in node.items():
        name = f"{prefix}{key}"
        values |= _flat(value, f"{name}.") if isinstance(value, dict) and value else {name: value}
    return values

"""The run folder: made by an atomic mkdir, never shared, never overwritten."""

import contextlib
import itertools
import json
import math
import re
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from trainwright.command_line import command, override
from trainwright.errors import CheckpointError, ConfigError, DiskError
from trainwright.files import typed_path, write_text
from trainwright.runs.elsewhere import note
from trainwright.runs.stored import UnreadableError, read_bytes
from trainwright.wording import printable

_STEP = re.compile(r"[0-9]{1,12}")


class _Part:
    """What is in a folder of runs, by its path from there."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __get__(self, folder: "RunFolder", owner: object = None) -> Path:
        return folder.path / self._name


@dataclass(frozen=True)
class RunFolder:
    """Where the files of one run are; `docs/design.md` lists them."""

    path: Path

    checkpoints = _Part("checkpoints")
    last = _Part("checkpoints/last.safetensors")  # the newest
    previous = _Part("checkpoints/previous.safetensors")  # the newest before that
    best = _Part("checkpoints/best.safetensors")  # with the best objective
    samples = _Part("samples")  # grids, texts and tables, named by their step
    plots = _Part("plots")  # curves and other pictures made at the end
    metrics = _Part("metrics.jsonl")  # one JSON object a line
    log = _Part("train.log")  # what the console showed

    def best_of(self, place: int) -> Path:
        """The checkpoint with the best objective, the second best, and so on, from 1."""
        return self.best if place == 1 else self.checkpoints / f"best-{place}.safetensors"

    @classmethod
    def create(cls, root: Path, name: str, *, exact: Path | None = None) -> "RunFolder":
        """Make a new folder `<root>/<date>/<time>-<name>`, or just `exact`, which must be new.

        Raises DiskError where it cannot be made, ConfigError where `exact` exists.
        """
        try:
            if exact is not None:
                exact.parent.mkdir(parents=True, exist_ok=True)
                exact.mkdir()
                note(root, exact)
                return cls(exact)._furnished()
            day = root / time.strftime("%Y-%m-%d")
            day.mkdir(parents=True, exist_ok=True)
            stem = f"{time.strftime('%H%M%S')}-{file_name(name)}"
            for number in itertools.count(1):
                path = day / (stem if number == 1 else f"{stem}-{number}")
                try:
                    path.mkdir()
                except FileExistsError:
                    continue  # another run of this second has it
                return cls(path)._furnished()
        except FileExistsError as error:
            if exact is None or not exact.is_dir():
                typed = f"run.dir={exact}" if exact is not None else f"run.root={root}: {day}"
                raise ConfigError(
                    f"{typed} is in the way: a file, where a folder is to be made\n"
                    "  choose a new folder"
                ) from error
            if not (exact / "config.yaml").exists():
                raise ConfigError(
                    f"run.dir={exact} exists, and a run makes a folder of its own\n"
                    "  name one that does not exist yet"
                ) from error
            go_on = command("train", override("trainer.resume", exact))
            raise ConfigError(
                f"run.dir={exact} exists, and a run never writes over another\n"
                f"  choose a new folder, or go on with that run: {go_on}"
            ) from error
        except OSError as error:
            where = exact or root
            raise DiskError(
                f"could not make a run folder in {where}\n  {error.strerror}"
            ) from error
        raise AssertionError("unreachable")

    @classmethod
    def existing(cls, run: str) -> "RunFolder":
        """The folder of an earlier run, from its path or that of a checkpoint in it."""
        path = typed_path(run)
        if path.is_file() and path.parent.name == "checkpoints":
            return cls(path.parent.parent)
        if path.is_file():
            raise CheckpointError(
                f"trainer.resume={run}: a checkpoint goes on within the folder of its run\n"
                "  name one in <run>/checkpoints/, or the folder of the run"
            )
        if not (path / "checkpoints").is_dir():
            raise CheckpointError(
                f"trainer.resume={run}: there is no run folder or checkpoint of that name"
            )
        return cls(path)

    def refuse_ways_out(self) -> None:
        """Raise CheckpointError for a link that leads out of the folder, a pipe or a device in it.

        For who goes on with a run: that writes to its files and removes some, and the folder may
        come from anyone.
        """
        home = self.path.resolve()
        for path in self.path.rglob("*"):
            is_gone = not path.is_symlink() and not path.exists()  # another process is at work
            is_plain = path.is_file() or path.is_dir()
            if _is_left_by_wandb(path.relative_to(self.path)):
                continue
            if not is_gone and not (is_plain and path.resolve().is_relative_to(home)):
                raise CheckpointError(
                    f"{printable(str(path))} leads out of the run folder, or is not a plain file\n"
                    "  resuming the run would write to it: put a plain file or folder there"
                )

    def _furnished(self) -> "RunFolder":
        for part in (self.checkpoints, self.samples, self.plots):
            part.mkdir()
        return self

    def overrides(self) -> list[str]:
        """What was typed to start the run, a line each; nothing if that is lost."""
        try:
            return read_bytes(self.path / "overrides.txt").decode(errors="replace").splitlines()
        except (FileNotFoundError, UnreadableError):
            return []

    def write_summary(self, summary: Mapping[str, Any]) -> None:
        """Write summary.json: status, best, last, timing, versions; null for NaN and infinity."""
        text = json.dumps(_with_nulls(summary), indent=2, allow_nan=False)
        write_text(self.path / "summary.json", text + "\n")


def _with_nulls(value: Any) -> Any:
    """JSON has no number for what is not finite."""
    if isinstance(value, Mapping):
        return {key: _with_nulls(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_with_nulls(inner) for inner in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def sample_files(folder: Path) -> dict[str, list[Path]]:
    """What was shown by step, such as 000500.png, in order, under ""; by a hook, under its name."""
    found: dict[str, list[Path]] = {"": []}
    with contextlib.suppress(OSError):
        for path in folder.iterdir():
            step, _, hook = path.stem.partition("-")
            if _STEP.fullmatch(step) and path.is_file():
                found.setdefault(hook, []).append(path)
    return {hook: sorted(found[hook], key=step_of) for hook in sorted(found)}


def step_of(file: Path) -> int:
    """The step in the name of a sample."""
    return int(file.stem.partition("-")[0])


def spread(files: list[Path], most: int) -> list[Path]:
    """At most so many of some files, evenly, the first and the last among them."""
    if len(files) <= most:
        return files
    return [files[round(i * (len(files) - 1) / (most - 1))] for i in range(most)]


def file_name(name: str) -> str:
    """A name as a part of a path: it leads nowhere else, and every file system takes it."""
    return re.sub(r"[^\w.-]+", "-", name)[:100].lstrip(".") or "run"


def _is_left_by_wandb(path: Path) -> bool:
    """Whether it is W&B's link to its own log in the user's cache, through which nobody writes."""
    folder, *_ = path.parts
    return folder == "wandb" and path.parts[2:] == ("logs", "debug-core.log")

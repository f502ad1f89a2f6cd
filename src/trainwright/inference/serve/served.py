"""A run that is served: what it has learned, under a name, and newer once there is newer."""

import asyncio
import sys
import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch

from trainwright import __version__
from trainwright.data.columns import Column
from trainwright.data.examples import Batch
from trainwright.errors import ConfigError, DataError, TrainwrightError
from trainwright.inference.explain.explain import (
    Explained,
    Explainer,
    is_table,
    methods_of,
    others_of,
)
from trainwright.inference.other_data import load_data
from trainwright.inference.predict import reads_files, targets_of
from trainwright.inference.serve.options import Options
from trainwright.inference.trained import Trained
from trainwright.runs.header import check_header
from trainwright.tasks.task import can, kind_of

# Paths of the first run, which lies at the root.
TAKEN = {"docs", "explain", "generate", "health", "info", "metrics", "openapi.json", "predict"}
LOOK_EVERY = 0.5  # seconds between two looks for a newer checkpoint


class Learned:
    """What one checkpoint has learned, and what it can be asked for. It never changes."""

    def __init__(self, trained: Trained) -> None:
        self.trained = trained
        self.digest = check_header(trained.path).labels["sha256"]
        self.kind = kind_of(trained.task)
        self.inputs = {name: trained.info.columns[name] for name in trained.info.inputs}
        self.targets = targets_of(trained)
        self.predicts = can(trained.task, "predict")
        self.options = Options(trained.task) if can(trained.task, "generate") else None
        self.methods, self.unexplained = list[str](), ""
        try:
            self.methods += methods_of(trained)
        except ConfigError as error:
            self.unexplained = str(error).splitlines()[0]
        self._explainer: Explainer | None = None

    @property
    def file_column(self) -> Column | None:
        """The one input, where an example is a file and not a row."""
        return next(iter(self.inputs.values())) if reads_files(self.trained.info) else None

    @property
    def has_files(self) -> bool:
        """Whether a cell of a row would name a file."""
        return any(column.read_from == "file" for column in self.inputs.values())

    @cached_property
    def example(self) -> dict[str, dict[str, Any]]:
        """The JSON Schema of each key of an example."""
        each = (column.schema(name) for name, column in self.inputs.items())
        return {key: schema for schemas in each for key, schema in schemas.items()}

    def explained(
        self,
        columns: Mapping[str, np.ndarray],
        others: Batch,
        method: str,
        output: str | None,
        pause: Callable[[], None],
    ) -> Explained:
        """Why what is said of an example is said, by one method. Raises ConfigError."""
        if self._explainer is None:
            self._explainer = Explainer(self.trained, others, pause=pause)
        stored = {name: torch.from_numpy(column) for name, column in columns.items()}
        return self._explainer.explain(stored, output, [method])

    def facts(self) -> dict[str, Any]:
        """As plain JSON types, with nothing of the machine in it."""
        outputs = {
            name: {
                "kind": target.kind,
                "names": target.csv_header()[2 * (target.kind == "classes") :],
            }
            for name, target in self.targets.items()
        }
        return {
            "task": self.kind,
            "does": [
                does
                for does, is_done in (
                    ("predict", self.predicts),
                    ("generate", self.options),
                    ("explain", self.methods),
                )
                if is_done
            ],
            "explain": self.methods,
            "inputs": self.example if self.predicts else {},
            "reads": "files" if self.file_column else "objects" if self.has_files else "rows",
            "outputs": outputs if self.predicts else {},
            "generate": None if self.options is None else self.options.schema["properties"],
            "step": self.trained.step,
            "digest": self.digest,
            "version": __version__,
        }


@dataclass
class Served:
    """A run under a name; `open` reads its checkpoint, the file at `path`, again."""

    name: str
    path: Path
    open: Callable[[], Trained]
    now: Learned = field(init=False)
    _seen: tuple[int, ...] = field(init=False)
    _others: asyncio.Future[Batch] | None = None

    def __post_init__(self) -> None:
        self._seen = self._look()
        self.now = Learned(self.open())

    def _look(self) -> tuple[int, ...]:
        try:
            found = self.path.stat()
        except OSError:  # a file that is not there is nothing newer
            return ()
        return found.st_mtime_ns, found.st_size, found.st_ino

    async def others(self) -> Batch:
        """Training rows that stand for what is gone, read when first asked for; none of images.

        Raises DataError where they cannot be read.
        """
        if not is_table(self.now.trained):
            return {}
        if self._others is None:
            reading = asyncio.to_thread(_others, self.name, self.now.trained)
            self._others = asyncio.ensure_future(reading)
        return await asyncio.shield(self._others)

    async def watch(self, tell: Callable[[str], None]) -> None:
        """Take what is newer as soon as it is there, for ever. What cannot be read is told of."""
        while True:
            await asyncio.sleep(LOOK_EVERY)
            seen = self._look()
            if not seen or seen == self._seen:
                continue
            self._seen = seen
            try:
                # What was asked before is answered by what was learned before: requests hold it.
                self.now = await asyncio.to_thread(lambda: Learned(self.open()))
            except TrainwrightError as error:
                tell(f"{self.name}: kept at step {self.now.trained.step}: {error}")
            except Exception:
                traceback.print_exc(file=sys.stderr)
            else:
                tell(f"{self.name}: now at step {self.now.trained.step:,}")


def _others(name: str, trained: Trained) -> Batch:
    try:
        return others_of(load_data(trained, []))
    except TrainwrightError as error:
        print(f"{name}: rows are not explained: {error}", file=sys.stderr, flush=True)
        text = "rows are explained beside training rows, and these cannot be read here"
        raise DataError(text) from error


def names_of(folders: Sequence[str]) -> list[str]:
    """A name for each of several runs that stands in an address: of their folders, told apart."""
    names: list[str] = []
    for folder in folders:
        name = "".join(c if c.isascii() and (c.isalnum() or c in "-_.") else "-" for c in folder)
        name = name.strip(".") or "run"
        name = f"run-{name}" if name in TAKEN else name
        same = sum(other == name or other.startswith(f"{name}~") for other in names)
        names.append(f"{name}~{same + 1}" if same else name)
    return names

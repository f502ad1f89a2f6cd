"""What a trained task says of files of a person's: images, texts, the rows of a table."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from trainwright.data.columns import BadInputError, Column, Image, Numbers, Target
from trainwright.data.dataset import DataInfo
from trainwright.data.sources.csv_rows import BadTableError, read_rows
from trainwright.errors import ConfigError
from trainwright.inference.trained import Trained, ability
from trainwright.progress import counted
from trainwright.wording import printable

BATCH = 128  # examples in memory at once
TILE = 8  # examples: by so many at a time, or fewer, CPUs' libraries multiply matrices


@dataclass(frozen=True)
class Prediction:
    """What is said of one example, for each target by name, or what is wrong with it.

    `line`: where it stands in its file, for a row of a table. `columns`: the example as stored.
    """

    path: Path
    line: int | None = None
    columns: dict[str, np.ndarray] = field(default_factory=dict)
    answers: dict[str, Tensor] = field(default_factory=dict)
    problem: str | None = None


def predict(trained: Trained, files: Sequence[Path]) -> Iterator[Prediction]:
    """Predictions in the order of the files, what is bad among them.

    An image gets the size, channels and scaling of the training data, and is cropped, padded or
    stretched as they were. A table's columns are found by their names. Raises ConfigError for a
    run that does not predict from files.
    """
    require_files(trained)
    return answered(trained, read(trained.info, files))


def read(info: DataInfo, files: Sequence[Path]) -> Iterator[Prediction]:
    """The examples in image files or tables, as they are stored, what is bad among them."""
    inputs = {name: info.columns[name] for name in info.inputs}
    return (_files if reads_files(info) else rows)(inputs, files)


def answered(trained: Trained, examples: Iterator[Prediction]) -> Iterator[Prediction]:
    """The examples with what is said of them, in their order, what is bad among them."""
    while window := list(islice(examples, BATCH)):
        good = [example for example in window if example.problem is None]
        answers = iter(answers_to(trained, good) if good else ())
        for example in window:
            is_good = example.problem is None
            yield replace(example, columns={}, answers=next(answers)) if is_good else example


def targets_of(trained: Trained) -> dict[str, Target]:
    """What is predicted, by name."""
    columns = {name: trained.info.columns[name] for name in trained.info.targets}
    return {name: column for name, column in columns.items() if isinstance(column, Target)}


def reads_files(info: DataInfo) -> bool:
    """Whether an example is a file, such as an image, and not a row of a table."""
    return len(info.inputs) == 1 and info.input.read_from == "file"


def require_files(trained: Trained) -> None:
    """Raise ConfigError for a task that says nothing of files, or of no such files."""
    ability(trained, "predict", "predict")
    for name in trained.info.inputs:
        column = trained.info.columns[name]
        if isinstance(column, Image) and column.size[0] not in (1, 3):
            sizes = "x".join(map(str, column.shape))
            raise ConfigError(
                f"this run has learned examples of {sizes}, which neither image files nor rows are"
                "\n  it can be measured on data of its own kind: runs evaluate RUN data=..."
            )


def _files(inputs: dict[str, Column], files: Sequence[Path]) -> Iterator[Prediction]:
    ((name, column),) = inputs.items()
    for path in counted(files, "predicting", "files"):
        try:
            yield Prediction(path, columns={name: column.read([path.name], path.parent)})
        except BadInputError as error:
            yield Prediction(path, problem=str(error))


def rows(inputs: dict[str, Column], files: Sequence[Path]) -> Iterator[Prediction]:
    """The rows of tables as examples."""
    wanted = {name: column.cell_names(name) for name, column in inputs.items()}
    cells = [cell for names in wanted.values() for cell in names]
    is_named = not any(isinstance(c, Numbers) and not c.names for c in inputs.values())
    for path in files:
        try:
            for row in read_rows(path, cells, is_named=is_named):
                yield _example(path, row.line, row.cells, row.problem, inputs)
        except BadTableError as error:
            yield Prediction(path, problem=str(error).splitlines()[0])
        except OSError as error:
            yield Prediction(path, problem=error.strerror or "cannot be read")


def _example(
    path: Path, line: int, cells: Sequence[str], problem: str, inputs: dict[str, Column]
) -> Prediction:
    if problem:
        return Prediction(path, line, problem=problem)
    columns, left = {}, list(cells)
    try:
        for name, column in inputs.items():
            num = len(column.cell_names(name))
            columns[name] = column.read(left[:num], path.parent)
            left = left[num:]
    except BadInputError as error:
        file = f"{name} {printable(left[0])}: " if column.read_from == "file" else ""
        return Prediction(path, line, problem=f"{file}{error}")
    return Prediction(path, line, columns)


def told(targets: Mapping[str, Target], answers: Mapping[str, Tensor], top: int) -> dict[str, Any]:
    """An answer as plain JSON types; of several targets each by its name."""
    each = {name: target.told(answers[name], top) for name, target in targets.items()}
    return next(iter(each.values())) if len(each) == 1 else each


@torch.no_grad()
def answers_to(trained: Trained, examples: Sequence[Prediction]) -> Iterator[dict[str, Tensor]]:
    """What the task says of each example, by target, (...) float32.

    With one thread an example's answer does not depend on how many are asked about with it: a
    batch that is no multiple of `TILE` is filled up with its last, for libraries round a product
    otherwise where they compute the rows that are left over. In bf16 they do not.
    """
    num = len(examples)
    if trained.placement.precision == "fp32":
        examples = [*examples, *[examples[-1]] * (-num % TILE)]
    batch = batch_of(trained, examples)
    with trained.placement.autocast():
        answers = ability(trained, "predict", "predict")(batch)
    answers = {name: answer.float().cpu() for name, answer in answers.items()}
    for i in range(num):
        yield {name: answer[i] for name, answer in answers.items()}


def batch_of(trained: Trained, examples: Sequence[Prediction]) -> dict[str, Tensor]:
    """What the network is given of some examples, by input, on its device."""
    task, placement = trained.task, trained.placement
    batch = {}
    for name in examples[0].columns:
        stored = torch.from_numpy(np.stack([example.columns[name] for example in examples]))
        column = task.columns[name]
        batch[name] = column.preparation(placement.device)(stored.to(placement.device))
        if isinstance(column, Image) and column.shape[0] > 1:
            batch[name] = batch[name].contiguous(memory_format=placement.memory_format)
    return batch

"""What a trained task says of image files or of a table's rows, prepared as in training."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from trainwright.data.images.decode import BadImageError, Fit, decode_image
from trainwright.data.sources.csv_rows import BadTableError, read_rows
from trainwright.errors import ConfigError
from trainwright.inference.trained import Trained
from trainwright.tasks.classifier import Classifier
from trainwright.tasks.regression import Regression

BATCH = 128  # examples in memory at once


@dataclass(frozen=True)
class Prediction:
    """What is said of one example: probabilities of the classes (C,), a value, or what is wrong.

    `line`: where it stands in its file, for a row of a table.
    """

    path: Path
    line: int | None = None
    probabilities: Tensor | None = None
    value: float | None = None
    problem: str | None = None


@dataclass(frozen=True)
class _Example:
    """What a file or a row was read as: inputs (C, H, W) uint8 or (F,) float32, or a problem."""

    path: Path
    line: int | None = None
    inputs: np.ndarray | None = None
    problem: str | None = None


def predict(trained: Trained, files: Sequence[Path]) -> Iterator[Prediction]:
    """Predictions in the order of the files, what is bad among them.

    An image gets the size, channels and normalisation of the training data, and is cropped, padded
    or stretched as its config says. A table's columns are found by their names. Raises ConfigError
    for a run that does not predict from files.
    """
    require_files(trained)
    examples = _images(trained, files) if trained.info.is_image else _rows(trained, files)
    while window := list(islice(examples, BATCH)):
        arrays = [example.inputs for example in window if example.inputs is not None]
        outputs = iter(_outputs(trained, np.stack(arrays)) if arrays else ())
        for example in window:
            if example.inputs is None:
                yield Prediction(example.path, example.line, problem=example.problem)
            elif isinstance(trained.task, Regression):
                yield Prediction(example.path, example.line, value=float(next(outputs)))
            else:
                yield Prediction(example.path, example.line, probabilities=next(outputs))


def require_files(trained: Trained) -> None:
    """Raise ConfigError for a task that says nothing of an image file or a table."""
    if not isinstance(trained.task, Classifier | Regression):
        kind = type(trained.task).__name__.removesuffix("Task")
        raise ConfigError(
            f"this run does not predict: it is a {kind}\n"
            "  try: runs sample RUN, or runs evaluate RUN"
        )
    shape = trained.info.input_shape
    if len(shape) != 1 and not (trained.info.is_image and shape[0] in (1, 3)):
        sizes = "x".join(map(str, shape))
        raise ConfigError(
            f"this run has learned examples of {sizes}, which neither image files nor rows are\n"
            "  it can be measured on data of its own kind: runs evaluate RUN data=..."
        )


def _images(trained: Trained, files: Sequence[Path]) -> Iterator[_Example]:
    channels, height, width = trained.info.input_shape
    for path in files:
        try:
            image = decode_image(path, size=(height, width), channels=channels, fit=fit_of(trained))
        except BadImageError as error:
            yield _Example(path, problem=str(error))
        else:
            yield _Example(path, inputs=image)


def _rows(trained: Trained, files: Sequence[Path]) -> Iterator[_Example]:
    (num_features,), names = trained.info.input_shape, trained.info.feature_names
    for path in files:
        try:
            for row in read_rows(path, num_features=num_features, names=names):
                if row.features is None:
                    yield _Example(path, row.line, problem=row.problem)
                else:
                    yield _Example(path, row.line, np.array(row.features, dtype=np.float32))
        except BadTableError as error:
            yield _Example(path, problem=str(error))
        except OSError as error:
            yield _Example(path, problem=error.strerror or "cannot be read")


@torch.no_grad()
def _outputs(trained: Trained, inputs: np.ndarray) -> Tensor:
    """Probabilities (B, C) or values (B,) float32 of images (B, C, H, W) or rows (B, F)."""
    task, placement = trained.task, trained.placement
    assert isinstance(task, Classifier | Regression)
    scale, shift = task.normalisation.tensors(inputs.ndim, placement.device)
    examples = torch.from_numpy(inputs).to(placement.device).float()
    examples = torch.addcmul(shift, examples, scale)
    if examples.dim() == 4 and examples.shape[1] > 1:
        examples = examples.contiguous(memory_format=placement.memory_format)
    with placement.autocast():
        outputs = task.predict(examples) if isinstance(task, Classifier) else task.model(examples)
    outputs = outputs.float().cpu()
    if isinstance(task, Regression):
        values: Tensor = outputs.squeeze(1) * task.target_std + task.target_mean
        return values
    return torch.softmax(outputs, dim=1)


def fit_of(trained: Trained) -> Fit:
    """How images that are not of the run's size are brought to it."""
    wanted = trained.plan.data.node.get("fit")
    return wanted if wanted in ("crop", "pad", "stretch") else "crop"

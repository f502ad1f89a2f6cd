"""What a trained task says of image files, prepared as its training images were."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from trainwright.data.decode import BadImageError, Fit, decode_image
from trainwright.errors import ConfigError
from trainwright.inference.trained import Trained
from trainwright.tasks.classifier import Classifier
from trainwright.tasks.regression import Regression

BATCH = 128  # images in memory at once


@dataclass(frozen=True)
class Prediction:
    """What is said of one file: probabilities of the classes (C,), a value, or what is wrong."""

    path: Path
    probabilities: Tensor | None = None
    value: float | None = None
    problem: str | None = None


def predict(trained: Trained, files: Sequence[Path]) -> Iterator[Prediction]:
    """Predictions in the order of the files, bad files among them.

    An image gets the size, channels and normalisation of the training data, and is cropped, padded
    or stretched as its config says. Raises ConfigError for a run that does not predict from images.
    """
    require_images(trained)
    remaining = iter(files)
    while window := list(islice(remaining, BATCH)):
        yield from _predict_some(trained, window)


def require_images(trained: Trained) -> None:
    """Raise ConfigError for a task that says nothing of an image file."""
    if not isinstance(trained.task, Classifier | Regression):
        kind = type(trained.task).__name__.lower()
        raise ConfigError(
            f"this run does not predict: it is a {kind}\n"
            "  try: runs sample RUN, or runs evaluate RUN"
        )
    shape = trained.info.input_shape
    if not trained.info.is_image or shape[0] not in (1, 3) or shape[1] != shape[2]:
        sizes = "x".join(map(str, shape))
        raise ConfigError(
            f"this run has learned examples of {sizes}, which image files are not\n"
            "  it can be measured on data of its own kind: runs evaluate RUN data=..."
        )


def _predict_some(trained: Trained, files: list[Path]) -> Iterator[Prediction]:
    channels, size, _ = trained.info.input_shape
    problems: dict[Path, str] = {}
    arrays = []
    for path in files:
        try:
            arrays.append(decode_image(path, size=size, channels=channels, fit=_fit(trained)))
        except BadImageError as error:
            problems[path] = str(error)
        except OSError as error:
            problems[path] = error.strerror or "cannot be read"
    outputs = iter(_outputs(trained, np.stack(arrays)) if arrays else ())
    for path in files:
        if path in problems:
            yield Prediction(path, problem=problems[path])
        elif isinstance(trained.task, Regression):
            yield Prediction(path, value=float(next(outputs)))
        else:
            yield Prediction(path, probabilities=next(outputs))


@torch.no_grad()
def _outputs(trained: Trained, images: np.ndarray) -> Tensor:
    """Probabilities (B, C) or values (B,) float32 of images (B, C, S, S) uint8."""
    task, placement = trained.task, trained.placement
    assert isinstance(task, Classifier | Regression)
    scale, shift = task.normalisation.tensors(4, placement.device)
    inputs = torch.from_numpy(images).to(placement.device).float()
    inputs = torch.addcmul(shift, inputs, scale)  # (B, C, S, S)
    if inputs.shape[1] > 1:
        inputs = inputs.contiguous(memory_format=placement.memory_format)
    with placement.autocast():
        outputs = task.model(inputs)
    outputs = outputs.float().cpu()
    if isinstance(task, Regression):
        values: Tensor = outputs.squeeze(1) * task.target_std + task.target_mean
        return values
    return torch.softmax(outputs, dim=1)


def _fit(trained: Trained) -> Fit:
    wanted = trained.config.data.get("fit")
    return wanted if wanted in ("crop", "pad", "stretch") else "crop"

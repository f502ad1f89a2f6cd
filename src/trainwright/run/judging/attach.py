"""A judge for a dataset: a feature network, made or plugged in, and what it sees in the data."""

import logging
from collections.abc import Callable, Iterable
from dataclasses import asdict, replace
from typing import Literal

import torch
from torch import Tensor, nn

from trainwright.data.columns import Scaling
from trainwright.data.dataset import DataInfo, Dataset
from trainwright.data.examples import Arrays, Split
from trainwright.errors import ConfigError
from trainwright.progress import progress_bar
from trainwright.run.judging.network import (
    Eye,
    Recipe,
    eye_of,
    learns_classes,
    make_task,
    train_network,
)
from trainwright.run.judging.store import digest, kept
from trainwright.score.judge import MIN_EXAMPLES, Judge, RealImages, Seen
from trainwright.tasks.task import Task

MAX_REFERENCE = 60_000  # training images: a run on millions must not wait for all of them
MAX_HELD_OUT = 10_000
FINAL_SAMPLES = 10_000


log = logging.getLogger(__name__)


def attach_judge(
    tasks: Iterable[Task], dataset: Dataset, *, num_samples: int, device: torch.device
) -> Judge | None:
    """Give tasks that generate, copies of each other, one judge of what they do, and return it.

    A dataset with too few images for a score gets none, and a line that says so. Raises
    ConfigError for a plugged-in network that makes no features of such images.
    """
    first, *_ = tasks = list(tasks)
    features = first.score_features
    if features is None or num_samples == 0:
        return None
    smallest = min(len(dataset.train), len(dataset.validation), len(dataset.test))
    if smallest < MIN_EXAMPLES:
        log.info("score: none, since a split of %d images is too small", smallest)
        return None
    if num_samples < MIN_EXAMPLES:
        raise ConfigError(
            f"trainer.score_samples={num_samples}: too few to mean anything; it must be at least "
            f"{MIN_EXAMPLES}, or 0 for no score"
        )
    try:
        judge = judge_of(dataset, features, num_samples=num_samples, device=device)
    except (ValueError, RuntimeError) as error:
        if features == "own":
            raise
        raise ConfigError(
            f"task.score: {type(features).__name__} makes no features of images "
            f"{dataset.info.input_shape}\n  {str(error).splitlines()[0]}"
        ) from error
    for task in tasks:
        task.be_judged_by(judge)
    return judge


def judge_of(
    dataset: Dataset,
    features: Literal["own"] | nn.Module,
    *,
    num_samples: int,
    device: torch.device,
) -> Judge:
    """The judge of images like the dataset's training images, with validation images as floor.

    `features`: a network that maps images (B, C, H, W) in 0..1 to features (B, F), or "own": one
    that learns from the training images, once, and is kept. Raises ValueError where there are too
    few images.
    """
    info = dataset.info
    train, _ = _shuffled(dataset.train, MAX_REFERENCE)
    if features == "own":
        name, eye = _own_eye(train, info, device)
    else:
        name, eye = _plugged_eye(features, train.columns[info.inputs[0]], device)
    return Judge(
        name=name,
        look=eye.look,
        reference=_real(name, eye.look, dataset.train, info, MAX_REFERENCE, device),
        held_out=_real(name, eye.look, dataset.validation, info, MAX_HELD_OUT, device),
        num_samples=num_samples,
    )


def final_judge(judge: Judge, dataset: Dataset, device: torch.device) -> Judge:
    """The same judge with test images as floor and 10,000 samples: for the end of a run."""
    held_out = _real(judge.name, judge.look, dataset.test, dataset.info, MAX_HELD_OUT, device)
    return replace(judge, held_out=held_out, num_samples=FINAL_SAMPLES, purpose="final")


def _own_eye(train: Arrays, info: DataInfo, device: torch.device) -> tuple[str, Eye]:
    recipe = Recipe()
    has_classes = learns_classes(info)
    images = train.columns[info.inputs[0]]
    learned = train.columns[info.targets[0]] if has_classes else None

    def make() -> dict[str, Tensor]:
        label = f"training the feature network of {info.name} for its score, once"
        task = make_task(info, recipe)
        with progress_bar(label, recipe.steps, "steps") as advance:
            train_network(task, train, info, recipe, device, advance)
        return {name: value.cpu().contiguous() for name, value in task.state_dict().items()}

    state = kept(f"network-{digest(str(asdict(recipe)), images, learned)}", make)
    # Built anew even after training: who finds the weights kept must see the same, to the bit.
    task = make_task(info, recipe)
    task.load_state_dict(state)
    task.to(device)
    kind = "cnn" if has_classes else "turns"
    name = f"{info.name}-{kind}-{digest(*(state[key] for key in sorted(state)))[:6]}"
    return name, eye_of(task, knows_classes=has_classes)


def _plugged_eye(network: nn.Module, images: Tensor, device: torch.device) -> tuple[str, Eye]:
    num_channels = images.shape[1]
    plain = Scaling(scale=(1 / 255,) * num_channels, shift=(0.0,) * num_channels)
    eye = Eye(network.to(device), None, plain)
    # Its code may change as well as its weights: what it makes of some images tells either.
    seen = eye.look(images[:16]).features
    return f"{type(network).__name__}-{digest(seen.half())[:6]}", eye


def _real(
    name: str,
    look: Callable[[Tensor], Seen],
    split: Split,
    info: DataInfo,
    limit: int,
    device: torch.device,
) -> RealImages:
    """What the network of that name sees in real images: kept, or looked at now."""
    chosen, indices = _shuffled(split, limit)
    images = chosen.columns[info.inputs[0]]

    def make() -> dict[str, Tensor]:
        seen = look(images)
        tensors = {"features": seen.features.cpu()}
        if seen.probabilities is not None:
            tensors["probabilities"] = seen.probabilities.cpu()
        return tensors

    stored = kept(f"features-{digest(name, images)}", make)
    # Features go to where distances are computed; probabilities are only counted.
    seen = Seen(stored["features"].to(device), stored.get("probabilities"))
    classes = chosen.columns[info.targets[0]] if info.target == "classes" else None
    return RealImages(seen, classes, indices)


def _shuffled(split: Split, limit: int) -> tuple[Arrays, Tensor]:
    """At most `limit` examples in an order that says nothing, always the same, and their places."""
    order = torch.randperm(len(split), generator=torch.Generator().manual_seed(0))[:limit]
    return Arrays(split.take(order)), order

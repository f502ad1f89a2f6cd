"""How strange examples are to a trained network: far from all that it has learned from."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional

from trainwright.data.dataset import Dataset
from trainwright.data.examples import Batch, all_of
from trainwright.data.origins import ImageFiles, TableRows
from trainwright.errors import ConfigError, DataError
from trainwright.inference.given import raise_unusable
from trainwright.inference.intervals import Interval, bootstrap
from trainwright.inference.predict import BATCH, batch_of, read
from trainwright.inference.trained import Trained, in_order, told_of_each
from trainwright.score.neighbours import squared_distances
from trainwright.tasks.metrics.formulas import roc_area
from trainwright.tasks.task import can, kind_of

By = Literal["neighbours", "task"]
PORTS: Mapping[By, str] = {"neighbours": "features", "task": "anomaly_score"}  # of the task
Score = Callable[[Batch], Tensor]  # of a batch as the network sees it, (B,): larger is stranger


@dataclass(frozen=True)
class Strange:
    """Examples with how strange they are, in the order in which they were given."""

    names: Sequence[str]
    scores: Tensor  # (N,)
    shares: Tensor  # (N,) of the run's own test examples, those that are less strange
    unknown: Tensor | None  # (N,) bool, whether its class is none that the run has learned
    auroc: float | None  # of the unknown; without labels, of these beside the own test examples
    interval: Interval | None
    images: Callable[[Tensor], Tensor] | None  # those at some places as stored (n, C, H, W)


def way_of(trained: Trained, by: By | None) -> By:
    """By its neighbours, or as its task says; as it can, where None. Raises ConfigError."""
    task = trained.task
    offered = [way for way, port in PORTS.items() if can(task, port)]
    if by is None and offered:
        by = offered[0]
    if by not in offered:
        what = f"by={by}: " if by else ""
        hint = "classifiers, regression runs and generators have"
        hint = f"try by={offered[0]}" if offered else hint
        raise ConfigError(
            f"{what}a {kind_of(task)} has no {PORTS[by or 'neighbours'].replace('_', ' ')} "
            f"to tell anomalies by\n  {hint}"
        )
    return by


def score_of(trained: Trained, own: Dataset, by: By, *, k: int, num_reference: int) -> Score:
    """How a run scores examples: by its neighbours, or as its task does.

    The distance to the k-th nearest of so many training examples, spread over all, between
    features of length 1 (Sun et al. 2022, arXiv:2204.06507). Raises ConfigError for too few.
    """
    port: Score = getattr(trained.task, PORTS[by])

    def tell(batch: Batch) -> Tensor:
        try:
            return port(batch)
        except ValueError as error:
            raise ConfigError(f"by={by}: {error}") from None

    if by == "task":
        return tell
    num = min(num_reference, len(own.train))
    if num < k:
        raise ConfigError(f"k={k}: there are only {num:,} training examples to compare with")

    def features_of(batch: Batch) -> Tensor:
        return functional.normalize(tell(batch))

    bank = told_of_each(trained, features_of, in_order(trained, own.train, limit=num))

    def distance(batch: Batch) -> Tensor:
        features = features_of(batch)
        nearest = [
            block.topk(k, dim=1, largest=False).values[:, -1]
            for _, block in squared_distances(features, bank)
        ]
        return torch.cat(nearest).sqrt()

    return distance


def strange_files(trained: Trained, own: Dataset, score: Score, files: Sequence[Path]) -> Strange:
    """Score image files, or the rows of tables. Raises DataError that names what cannot be used."""
    examples = list(read(trained.info, files))
    raise_unusable(examples)
    parts = [examples[i : i + BATCH] for i in range(0, len(examples), BATCH)]
    scores = told_of_each(trained, score, (batch_of(trained, part) for part in parts))
    normal = told_of_each(trained, score, in_order(trained, own.test))
    names = [f"{e.path}" if e.line is None else f"{e.path}:{e.line}" for e in examples]
    labels = torch.cat([torch.ones(len(scores)), torch.zeros(len(normal))]) > 0
    (first, *_) = trained.info.inputs

    def images(places: Tensor) -> Tensor:
        return torch.stack([torch.from_numpy(examples[i].columns[first]) for i in places.tolist()])

    area, interval = auroc(torch.cat([scores, normal]), labels), None
    shares = _shares(scores, normal)
    return Strange(names, scores, shares, None, area, interval, _if_images(trained, images))


def strange_examples(
    trained: Trained, own: Dataset, score: Score, other: Dataset, split: str
) -> Strange:
    """Score a split of a dataset: the run's own, or another.

    Where that has classes that the run has not learned, examples of these are what is to be found.
    """
    examples = other.splits.get(split)
    if examples is None or not len(examples):
        raise DataError(
            f"split={split}: {other.info.name} has no such examples\n"
            f"  it has {', '.join(name for name, s in other.splits.items() if len(s))}"
        )
    scores = told_of_each(trained, score, in_order(trained, examples))
    is_own_test = other is own and split == "test"
    normal = scores if is_own_test else told_of_each(trained, score, in_order(trained, own.test))
    known, names = trained.info.class_names, other.info.class_names
    unknown, area, interval = None, None, None
    if other.info.num_classes and set(names) - set(known) and known:
        is_new = torch.tensor([name not in known for name in names])
        unknown = is_new[all_of(examples, other.info.targets[0]).long()]
        area = auroc(scores, unknown)
        interval = _interval(scores, unknown, trained.plan.seed)
    (first, *_) = trained.info.inputs
    return Strange(
        _names(other, split, len(scores)),
        scores,
        _shares(scores, normal),
        unknown,
        area,
        interval,
        _if_images(trained, lambda places: all_of(examples, first, places)),
    )


def auroc(scores: Tensor, labels: Tensor) -> float | None:
    """The ROC area of `labels` (N,) bool by scores (N,); None where all are labelled alike."""
    positive, negative = scores[labels], scores[~labels]
    return roc_area(positive, negative) if len(positive) and len(negative) else None


def _interval(scores: Tensor, labels: Tensor, seed: int) -> Interval | None:
    def measure(drawn: Tensor) -> dict[str, float]:
        area = auroc(scores[drawn], labels[drawn])
        return {} if area is None else {"auroc": area}

    return bootstrap(measure, len(scores), seed=seed).get("auroc")


def _shares(scores: Tensor, normal: Tensor) -> Tensor:
    return torch.searchsorted(normal.sort().values, scores).double() / len(normal)


def _if_images(
    trained: Trained, images: Callable[[Tensor], Tensor]
) -> Callable[[Tensor], Tensor] | None:
    return images if trained.info.is_image else None


def _names(dataset: Dataset, split: str, num: int) -> Sequence[str]:
    """What a person calls the examples: files, rows of the table, else numbers from 0."""
    if isinstance(dataset.origins, ImageFiles):
        return dataset.origins.names[split]
    if isinstance(dataset.origins, TableRows):
        return [f"row {place + 1}" for place in dataset.origins.places[split].tolist()]
    return [f"{split}[{number}]" for number in range(num)]

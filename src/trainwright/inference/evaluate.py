"""A trained task measured on a split: metrics with intervals, and for classes what they hide."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from torch import Tensor

from trainwright.data.dataset import Dataset
from trainwright.data.examples import Split
from trainwright.engine.evaluate import evaluate
from trainwright.errors import ConfigError, DataError
from trainwright.inference.intervals import NUM_RESAMPLES, Interval, bootstrap, wilson
from trainwright.inference.trained import Trained, ability, batches_of, in_order, told_of_each
from trainwright.run.judging.attach import attach_judge, final_judge
from trainwright.tasks.metrics.calibration import Bin, expected_calibration_error
from trainwright.tasks.metrics.formulas import per_class_metrics
from trainwright.tasks.metrics.metric import ByClass, Metric
from trainwright.wording import nearest, printable

WILSON, BOOTSTRAP = "Wilson score", "bootstrap percentile"


class Measured(NamedTuple):
    """A metric, its 95 % interval and by which method that was found; None where there is none."""

    value: float
    interval: Interval | None = None
    method: str | None = None


@dataclass(frozen=True)
class Classes:
    """What is known class by class, in the order of the class names."""

    names: tuple[str, ...]
    confusion: Tensor  # (C, C) int64, rows are the truth
    per_class: dict[str, list[float]]  # precision, recall, f1, support
    recall_intervals: list[Interval]  # Wilson
    bins: list[Bin]
    calibration_error: float
    brier: float


@dataclass(frozen=True)
class Evaluated:
    """All that was measured."""

    num_examples: int
    metrics: dict[str, Measured]
    classes: Classes | None
    score: dict[str, Any] | None = None  # of a GAN, as summary.json has it
    dinov2: dict[str, Any] | None = None  # the same in the features of DINOv2
    groups: dict[str, Any] | None = None  # what was measured in each, as `by_group` gives it


def evaluate_trained(
    trained: Trained,
    dataset: Dataset,
    split_name: str,
    *,
    num_resamples: int = NUM_RESAMPLES,
    group: str | None = None,
    likelihood: bool = False,
    membership: bool = False,
    dinov2: Path | None = None,
) -> Evaluated:
    """Measure the task on a split by its name, as a run does at its end.

    `group`: what its examples are also told apart by, as `groups_of` takes it; `likelihood`: how
    probable they are to a generator; `membership`: whether the training examples are told from
    them; `dinov2`: the folder of a network in whose features samples are scored too. Raises
    ConfigError for a split that there is not, DataError for an empty one.
    """
    splits = dataset.splits
    if split_name not in splits:
        raise ConfigError(
            f"split={printable(split_name)}: {dataset.info.name} has no such split"
            f"{nearest(split_name, splits)}\n  it has {', '.join(splits)}"
        )
    split = splits[split_name]
    if len(split) == 0:
        raise DataError(f"the {split_name} split of {dataset.info.name} is empty")
    groups = None
    if group is not None:
        from trainwright.inference.groups import groups_of

        groups = groups_of(dataset, split_name, group)
    if dinov2 is not None:
        from trainwright.run.judging.dinov2 import network_of, score_in

        network = network_of(dinov2)
    task, placement, seed = trained.task, trained.placement, trained.plan.seed
    judge = attach_judge(
        [task],
        dataset,
        num_samples=trained.plan.settings.score_samples,
        device=placement.device,
    )
    if judge is not None and split_name == "test":
        task.be_judged_by(final_judge(judge, dataset, placement.device))
    measured = evaluate(
        task,
        batches_of(trained, split),
        batch_size=trained.plan.settings.evaluate_batch_size,
        placement=placement,
        seed=seed,
    )
    metric, scores = measured.main, measured.compute()
    num_examples = metric.num_examples
    details = task.details(metric, scores)
    if "score" in details:
        # The figures of a score come with their own errors and floors.
        figures = {end for name in details["score"]["figures"] for end in (name, f"{name}_error")}
        scores = {name: value for name, value in scores.items() if name not in figures}
    metrics = with_intervals(metric, scores, seed=seed, num_resamples=num_resamples)
    if likelihood:
        metrics |= _likelihood(trained, split, num_resamples)
    if membership:
        from trainwright.inference.membership import membership_of

        metrics["membership"] = Measured(
            *membership_of(trained, dataset.train, metric, num_resamples), BOOTSTRAP
        )
    beside = None
    if dinov2 is not None:
        is_test = split_name == "test"
        beside = score_in(network, metric, dataset, is_test=is_test, device=placement.device)
    by_class = metric.by_class()
    classes = None if by_class is None else _classes(by_class)
    grouped = None
    if groups is not None:
        from trainwright.inference.fairness import by_group

        grouped = by_group(metric, groups, seed=seed, num_resamples=num_resamples)
        grouped = {"by": group, "headline": task.objective.metric, **grouped}
    return Evaluated(num_examples, metrics, classes, details.get("score"), beside, grouped)


def _likelihood(trained: Trained, split: Split, num_resamples: int) -> dict[str, Measured]:
    """Nats an example, of at most as many as evaluations look at; bits a number of an image."""
    tell = ability(trained, "log_likelihood", "know how likely examples are")
    batches = in_order(trained, split, limit=trained.task.evaluated_examples)
    try:
        nats = told_of_each(trained, tell, batches).double()
    except ValueError as error:
        raise ConfigError(f"likelihood=true: {error}") from None
    size = math.prod(trained.info.input.shape) if trained.info.is_image else 0

    def means(drawn: Tensor | slice) -> dict[str, float]:
        mean = float(nats[drawn].mean())
        bits = {"likelihood/bits_per_dim": -mean / (size * math.log(2))} if size else {}
        return {"likelihood/nats": mean, **bits}

    seed = trained.plan.seed
    intervals = bootstrap(means, len(nats), seed=seed, num_resamples=num_resamples)
    method = f"{BOOTSTRAP}, {len(nats):,} examples"
    return {
        name: Measured(value, intervals.get(name), method if name in intervals else None)
        for name, value in means(slice(None)).items()
    }


def with_intervals(
    metric: Metric, scores: Mapping[str, float], *, seed: int, num_resamples: int = NUM_RESAMPLES
) -> dict[str, Measured]:
    """What a metric has computed of a split, with intervals where its examples tell them."""
    num_examples = metric.num_examples
    intervals: dict[str, Interval] = {}
    if num_resamples:
        intervals = bootstrap(
            metric.resampled, num_examples, seed=seed, num_resamples=num_resamples
        )
    metrics = {
        name: Measured(value, intervals.get(name), BOOTSTRAP if name in intervals else None)
        for name, value in scores.items()
    }
    if metric.by_class() is not None:
        for name, value in scores.items():
            if name == "accuracy" or name.endswith("_accuracy"):
                interval = wilson(round(value * num_examples), num_examples)
                metrics[name] = Measured(value, interval, WILSON)
    return metrics


def _classes(found: ByClass) -> Classes:
    support = found.confusion.sum(dim=1).tolist()
    hits = found.confusion.diagonal().tolist()
    return Classes(
        names=found.names,
        confusion=found.confusion,
        per_class=per_class_metrics(found.confusion),
        recall_intervals=[wilson(h, n) for h, n in zip(hits, support, strict=True)],
        bins=found.bins,
        calibration_error=expected_calibration_error(found.bins),
        brier=found.brier,
    )


def as_plain(evaluated: Evaluated) -> dict[str, Any]:
    """What was measured, as plain types for JSON."""
    plain: dict[str, Any] = {
        "num_examples": evaluated.num_examples,
        "metrics": {name: measured._asdict() for name, measured in evaluated.metrics.items()},
    }
    if evaluated.score is not None:
        plain["score"] = evaluated.score
    if evaluated.dinov2 is not None:
        plain["dinov2"] = evaluated.dinov2
    if evaluated.groups is not None:
        plain["by_group"] = evaluated.groups
    classes = evaluated.classes
    if classes is not None:
        plain |= {
            "class_names": classes.names,
            "confusion": classes.confusion.tolist(),
            "per_class": {**classes.per_class, "recall_interval": classes.recall_intervals},
            "calibration": {
                "expected_calibration_error": classes.calibration_error,
                "brier_score": classes.brier,
                "bins": [b._asdict() for b in classes.bins],
            },
        }
    return plain

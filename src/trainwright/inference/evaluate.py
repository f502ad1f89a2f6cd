"""A trained task measured on a split: metrics with intervals, and for classes what they hide."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from trainwright.data.batches import Batches
from trainwright.data.dataset import Dataset, Split
from trainwright.engine.evaluate import evaluate
from trainwright.errors import DataError
from trainwright.inference.intervals import NUM_RESAMPLES, Interval, bootstrap, wilson
from trainwright.inference.trained import Trained
from trainwright.run.finish_gan import score_summary
from trainwright.run.judging.attach import attach_judge, final_judge
from trainwright.tasks.calibration import Bin, brier_score, expected_calibration_error, reliability
from trainwright.tasks.metrics import confusion_matrix, per_class_metrics

WILSON, BOOTSTRAP = "Wilson score", "bootstrap percentile"


@dataclass(frozen=True)
class Measured:
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


def evaluate_trained(
    trained: Trained, dataset: Dataset, split_name: str, *, num_resamples: int = NUM_RESAMPLES
) -> Evaluated:
    """Measure the task on the split `train`, `validation` or `test`, as a run does at its end.

    Raises DataError for an empty split.
    """
    split: Split = {
        "train": dataset.train,
        "validation": dataset.validation,
        "test": dataset.test,
    }[split_name]
    if len(split) == 0:
        raise DataError(f"the {split_name} split of {dataset.info.name} is empty")
    task, placement, seed = trained.task, trained.placement, trained.plan.seed
    batches = Batches(
        split,
        task.normalisation,
        batch_size=trained.plan.settings.batch_size,
        seed=seed,
        device=placement.device,
        memory_format=placement.memory_format,
    )
    judge = attach_judge(
        [task],
        dataset,
        num_samples=trained.plan.settings.score_samples,
        device=placement.device,
    )
    if judge is not None and split_name == "test":
        task.be_judged_by(final_judge(judge, dataset, placement.device))
    values = evaluate(
        task,
        batches,
        batch_size=trained.plan.settings.evaluate_batch_size,
        placement=placement,
        seed=seed,
    )
    num_examples = len(next(iter(values.values())))
    scores = task.score(values)
    if task.judge is not None:
        # The figures of a score come with their own errors and floors.
        score = score_summary(task.judge, values, scores, dataset.info.class_names)
        figures = {end for name in score["figures"] for end in (name, f"{name}_error")}
        others = {name: Measured(scores[name]) for name in scores if name not in figures}
        return Evaluated(num_examples, others, None, score)
    values = {name: value.cpu() for name, value in values.items()}
    metrics = {name: Measured(number) for name, number in scores.items()}
    # Where there is a target for each example, the examples can be drawn again. The distance
    # between two sets of images is another matter: drawing with replacement biases it.
    if "targets" in values and num_resamples:
        intervals = bootstrap(task.score, values, seed=seed, num_resamples=num_resamples)
        metrics = {
            name: Measured(measured.value, intervals[name], BOOTSTRAP)
            for name, measured in metrics.items()
        }
    if "logits" not in values or dataset.info.target != "classes":
        return Evaluated(num_examples, metrics, None)
    for name, measured in metrics.items():
        if name == "accuracy" or name.endswith("_accuracy"):
            hits = round(measured.value * num_examples)
            metrics[name] = Measured(measured.value, wilson(hits, num_examples), WILSON)
    return Evaluated(num_examples, metrics, _classes(values, dataset.info.class_names))


def _classes(values: dict[str, Tensor], names: tuple[str, ...]) -> Classes:
    logits, targets = values["logits"], values["targets"]
    confusion = confusion_matrix(logits.argmax(dim=1), targets, len(names))
    support = confusion.sum(dim=1).tolist()
    hits = confusion.diagonal().tolist()
    probabilities = torch.softmax(logits.double(), dim=1)
    bins = reliability(probabilities, targets)
    return Classes(
        names=names,
        confusion=confusion,
        per_class=per_class_metrics(confusion),
        recall_intervals=[wilson(h, n) for h, n in zip(hits, support, strict=True)],
        bins=bins,
        calibration_error=expected_calibration_error(bins),
        brier=brier_score(probabilities, targets),
    )


def as_plain(evaluated: Evaluated) -> dict[str, Any]:
    """What was measured, as plain types for JSON."""
    plain: dict[str, Any] = {
        "num_examples": evaluated.num_examples,
        "metrics": {
            name: {"value": m.value, "interval": m.interval, "method": m.method}
            for name, m in evaluated.metrics.items()
        },
    }
    if evaluated.score is not None:
        plain["score"] = evaluated.score
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

"""A second score of a generator, in the features of DINOv2: FD-DINOv2 and its like."""

from pathlib import Path
from typing import Any

import torch

from trainwright.data.dataset import Dataset
from trainwright.errors import ConfigError
from trainwright.nn.pretrained.dinov2 import Dinov2
from trainwright.run.judging.attach import final_judge, judge_of
from trainwright.tasks.generated.ending import score_summary
from trainwright.tasks.generated.metrics import GenerativeMetrics
from trainwright.tasks.generated.score import score_metrics
from trainwright.tasks.metrics.metric import Metric


def network_of(folder: Path) -> Dinov2:
    """The network of a folder. Raises ConfigError where there is none."""
    try:
        return Dinov2(folder)
    except ValueError as error:
        raise ConfigError(f"dinov2={folder}: {error}") from None


def score_in(
    network: Dinov2, metric: Metric, dataset: Dataset, *, is_test: bool, device: torch.device
) -> dict[str, Any]:
    """The score of the samples that a metric was shown, as summary.json has the own one.

    Of the same samples, training images and floor. Raises ConfigError where there are no samples.
    """
    samples = metric.judged.get("samples") if isinstance(metric, GenerativeMetrics) else None
    if samples is None:
        raise ConfigError(
            "dinov2=...: there are no samples to score: it is of generators of images that have a "
            "score\n  of their own; leave it out"
        )
    try:
        judge = judge_of(dataset, network, num_samples=len(samples), device=device)
    except ValueError as error:
        raise ConfigError(f"dinov2=...: {error}") from None
    if is_test:
        judge = final_judge(judge, dataset, device)
    judged = {"samples": samples, "sample_features": judge.look(samples).features}
    return score_summary(judge, judged, score_metrics(judge, judged), dataset.info.class_names)

"""Whether a run gives its training examples away: an attack by their losses."""

import torch
from torch import Tensor

from trainwright.data.examples import Split
from trainwright.engine.evaluate import evaluate
from trainwright.errors import ConfigError
from trainwright.inference.intervals import Interval, bootstrap
from trainwright.inference.trained import Trained, batches_of
from trainwright.tasks.metrics.formulas import roc_area
from trainwright.tasks.metrics.metric import Gathered, Metric
from trainwright.tasks.task import kind_of

MOST = 10_000  # examples of either kind


def membership_of(
    trained: Trained, train: Split, others: Metric, num_resamples: int
) -> tuple[float, Interval | None]:
    """The ROC area of training examples among others by a smaller loss, with its 95 % interval.

    0.5: nothing tells them apart. Yeom et al. 2018, arXiv:1709.01604; of the training examples as
    many as of the others, spread over all, and without augmentation. `others`: what was measured.
    Raises ConfigError for a task whose metrics keep no losses of single examples.
    """
    members = evaluate(
        trained.task,
        batches_of(trained, train),
        batch_size=trained.plan.settings.evaluate_batch_size,
        placement=trained.placement,
        seed=trained.plan.seed,
        limit=min(others.num_examples, MOST),
    ).main
    known, unknown = _losses(members), _losses(others)
    if not len(known) or not len(unknown):
        raise ConfigError(
            f"membership=true: a {kind_of(trained.task)} measures no loss of single examples"
        )
    losses, num = -torch.cat([known, unknown]), len(known)

    def area(drawn: Tensor) -> dict[str, float]:
        inside = losses[drawn[drawn < num]], losses[drawn[drawn >= num]]
        return {"area": roc_area(*inside)} if all(map(len, inside)) else {}

    whole = area(torch.arange(len(losses)))["area"]
    seed = trained.plan.seed
    intervals = bootstrap(area, len(losses), seed=seed, num_resamples=num_resamples)
    return whole, intervals.get("area")


def _losses(metric: Metric) -> Tensor:
    """(N,) float64: what the metric says of each example alone, of up to so many."""
    kept = metric.values.get("loss") if isinstance(metric, Gathered) else None
    if kept is not None:
        return kept[:MOST].double()
    every = range(min(metric.num_examples, MOST))
    said = [metric.resampled(torch.tensor([one])).get("loss") for one in every]
    return torch.tensor([loss for loss in said if loss is not None], dtype=torch.float64)

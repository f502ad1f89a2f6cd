"""Measure a task on a whole split."""

import math

import torch

from trainwright.data.batches import Batches
from trainwright.engine.device.device import Placement
from trainwright.progress import under_way
from trainwright.seeds import reseed_global
from trainwright.tasks.metrics.metric import Measurement
from trainwright.tasks.task import Task


@torch.no_grad()
def evaluate(
    task: Task,
    batches: Batches,
    *,
    batch_size: int,
    placement: Placement,
    seed: int,
    limit: int | None = None,
) -> Measurement:
    """What is measured on the split, in the split's order, batch by batch.

    `limit`: look at so many examples instead of as many as the task wants.

    Drawn with a seed of its own: the same weights give the same values whenever they are asked.
    """
    reseed_global(seed, "evaluate", device=placement.device)
    was_training = task.training
    task.eval()
    with placement.autocast():
        measurement = task.measurement()
    most = limit or task.evaluated_examples or batches.num_examples
    num_batches = math.ceil(min(most, batches.num_examples) / batch_size)
    with under_way("evaluating", num_batches, "batches") as activity:
        for batch in batches.in_order(batch_size, limit=most):
            with placement.autocast():
                answers = task.evaluate(batch)
            measurement.update(batch, answers)
            activity.advance()
    task.train(was_training)
    return measurement

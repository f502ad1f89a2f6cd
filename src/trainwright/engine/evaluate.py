"""Measure a task on a whole split."""

import torch

from trainwright.data.batches import Batches
from trainwright.engine.device.device import Placement
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
    for batch in batches.in_order(batch_size, limit=limit or task.evaluated_examples):
        with placement.autocast():
            answers = task.evaluate(batch)
        measurement.update(batch, answers)
    task.train(was_training)
    return measurement

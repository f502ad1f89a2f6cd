"""Measure a task on a whole split."""

import math

import torch

from trainwright.data.batches import Batches
from trainwright.engine.device.device import Placement
from trainwright.progress import under_way
from trainwright.seeds import reseed_global
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
) -> dict[str, torch.Tensor]:
    """The task's values for every example of the split, each (N, ...), in the split's order.

    Beside them is what the task generates, where it has a judge. `limit`: look at so many examples
    instead of as many as the task wants.

    Drawn with a seed of its own: the same weights give the same values whenever they are asked.
    """
    reseed_global(seed, "evaluate", device=placement.device)
    was_training = task.training
    task.eval()
    parts: list[dict[str, torch.Tensor]] = []
    most = limit or task.evaluated_examples or batches.num_examples
    num_batches = math.ceil(min(most, batches.num_examples) / batch_size)
    with under_way("evaluating", num_batches, "batches") as activity:
        for batch in batches.in_order(batch_size, limit=most):
            with placement.autocast():
                parts.append(task.evaluate(batch))
            activity.advance()
    with placement.autocast():
        generated = task.generate()
    task.train(was_training)
    return {name: torch.cat([part[name] for part in parts]) for name in parts[0]} | generated

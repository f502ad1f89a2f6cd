"""Measure a task on a whole split, by one process or by several."""

import math
from collections.abc import Iterator

import torch

from trainwright.data.batches import ALL, Batches
from trainwright.data.examples import Batch
from trainwright.engine.device.device import Placement
from trainwright.engine.interruption import CutShort
from trainwright.engine.ranks.world import ALONE, World
from trainwright.progress import under_way
from trainwright.seeds import reseed_global
from trainwright.tasks.metrics.metric import Answers, Measurement
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
    world: World = ALONE,
) -> Measurement:
    """What is measured on the split, in the split's order, batch by batch.

    `limit`: look at so many examples instead of as many as the task wants.

    Each batch is drawn with a seed of its own: the same weights give the same values whenever they
    are asked, and whoever computes them. Where the ranks of `world` listen, each computes a part
    of the batches, and rank 0 takes in what they say in the order of the split.
    """
    reseed_global(seed, "evaluate", device=placement.device)
    was_training = task.training
    task.eval()
    with placement.autocast():
        measurement = task.measurement()
    most = min(limit or task.evaluated_examples or batches.num_examples, batches.num_examples)
    num_batches = math.ceil(most / batch_size)
    is_shared = world.is_shared and world.listening
    shares = [share(num_batches, r, world.size) for r in range(world.size)] if is_shared else [ALL]
    if is_shared:
        told = {"split": batches.name, "batch_size": batch_size, "most": most}
        world.tell("evaluate", told)
    try:
        with under_way("evaluating", len(range(num_batches)[shares[0]]), "batches") as activity:
            for batch, answers in _answered(
                task, batches, batch_size, most, shares[0], placement, seed
            ):
                measurement.update(batch, answers)
                activity.advance()
                if is_shared:
                    world.look_up()
    except CutShort:
        if is_shared:
            world.cut_short()
            world.answers()
        raise
    for some, message in zip(shares[1:], world.answers() if is_shared else [], strict=True):
        for number, batch in enumerate(batches.in_order(batch_size, limit=most, some=some)):
            prefix = f"{number}/"
            answers = {
                name.removeprefix(prefix): value.to(placement.device)
                for name, value in message.tensors.items()
                if name.startswith(prefix)
            }
            measurement.update(batch, answers)
    task.train(was_training)
    return measurement


@torch.no_grad()
def answer(
    task: Task,
    batches: Batches,
    *,
    batch_size: int,
    most: int,
    placement: Placement,
    seed: int,
    world: World,
) -> None:
    """Compute this rank's part of an evaluation, and send it to rank 0."""
    was_training = task.training
    task.eval()
    some = share(math.ceil(most / batch_size), world.rank, world.size)
    said: Answers = {}
    for number, (_, answers) in enumerate(
        _answered(task, batches, batch_size, most, some, placement, seed)
    ):
        said |= {f"{number}/{name}": value.cpu() for name, value in answers.items()}
        if world.look_up():
            break
    task.train(was_training)
    world.answer(tensors=said)


def share(num_batches: int, rank: int, size: int) -> slice:
    """Which of so many batches a rank computes: as many as the others, one after the other."""
    return slice(rank * num_batches // size, (rank + 1) * num_batches // size)


def _answered(
    task: Task,
    batches: Batches,
    batch_size: int,
    most: int,
    some: slice,
    placement: Placement,
    seed: int,
) -> Iterator[tuple[Batch, Answers]]:
    numbers = range(math.ceil(most / batch_size))[some]
    for number, batch in zip(
        numbers, batches.in_order(batch_size, limit=most, some=some), strict=True
    ):
        purpose = ("evaluate", number) if number else ("evaluate",)
        reseed_global(seed, *purpose, device=placement.device)
        with placement.autocast():
            answers = task.evaluate(batch)
        yield batch, answers

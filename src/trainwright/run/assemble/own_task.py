"""What a task of the user's own must be, found out with one batch before anything is written."""

from collections.abc import Callable, Mapping
from functools import partial
from typing import TypeVar

import torch
from torch import Tensor

from trainwright.data.batches import Batches
from trainwright.data.dataset import DataInfo
from trainwright.data.examples import Batch
from trainwright.engine.clock import Clock
from trainwright.engine.device.device import Placement
from trainwright.engine.device.memory import is_out_of_memory
from trainwright.engine.step import known
from trainwright.errors import ConfigError, TrainwrightError, own_code_failed
from trainwright.run.assemble.own_network import name_of
from trainwright.tasks.metrics.metric import Metric
from trainwright.tasks.task import Objective, Task

Answer = TypeVar("Answer")
ATTRIBUTES = {
    "objective": (Objective, 'an Objective("a metric", higher_is_better=False)'),
    "columns": (Mapping, "what its networks see of the data: info.columns, or some of these"),
    "players": (Mapping, 'the networks that learn, by name: {"model": self.model}'),
}


def check_attributes(task: Task, info: DataInfo) -> None:
    """Raise ConfigError for a task that does not say what it learns, from what, and by what."""
    for attribute, (kind, right) in ATTRIBUTES.items():
        found = getattr(task, attribute, None)
        if not isinstance(found, kind):
            told = "is missing" if found is None else f"is a {type(found).__name__}"
            raise ConfigError(f"task: {name_of(task)}.{attribute} {told}\n  it must be {right}")
    unknown = [name for name in task.columns if name not in info.columns]
    if unknown:
        raise ConfigError(
            f"task: {name_of(task)}.columns names {unknown[0]!r}, which {info.name} lacks\n"
            f"  it has {', '.join(info.columns)}"
        )


def try_task(
    task: Task, train: Batches, held_out: Batches, clock: Clock, placement: Placement
) -> None:
    """Ask for the losses of the first step, and for the metrics of a few validation examples.

    Raises ConfigError where that fails or what is returned is something else. The task learns
    nothing from it, and what it draws is drawn anew in the run.
    """
    was_training = task.training
    task.eval()
    try:
        batch, carry = train.at(0), known(0, clock)
        for player in task.turns(0):
            turn = partial(task, player, batch, carry)
            with placement.autocast():
                _check_loss(task, _tried(task, "forward", batch, turn))
        few = next(held_out.in_order(train.batch_size, limit=train.batch_size))
        with torch.no_grad(), placement.autocast():
            _check_metrics(task, few)
    finally:
        task.train(was_training)


def _check_loss(task: Task, found: object) -> None:
    if isinstance(found, tuple) and len(found) == 2:
        loss, seen = found
        is_loss = isinstance(loss, Tensor) and loss.numel() == 1 and loss.requires_grad
        is_seen = isinstance(seen, Mapping) and all(isinstance(v, Tensor) for v in seen.values())
        if is_loss and is_seen:
            return
        told = f"{_told(loss)} and {_told(seen)}"
    else:
        told = _told(found)
    raise ConfigError(
        f"task: {name_of(task)}.forward returned {told}\n"
        "  it must return a loss, one number that depends on the player, and tensors by name"
    )


def _check_metrics(task: Task, batch: Batch) -> None:
    answers = _tried(task, "evaluate", batch, lambda: task.evaluate(batch))
    if not isinstance(answers, Mapping):
        raise ConfigError(
            f"task: {name_of(task)}.evaluate returned {_told(answers)}\n"
            "  it must return tensors by name, each with a row an example"
        )
    if not isinstance(metric := task.metrics(), Metric):
        raise ConfigError(
            f"task: {name_of(task)}.metrics returned {_told(metric)}\n"
            "  it must return a Metric of trainwright.tasks.metrics.metric"
        )
    measurement = task.measurement()
    _tried(task, "metrics().update", batch, lambda: measurement.update(batch, answers))
    try:
        scores = measurement.main.compute()
    except Exception:  # so few examples may be too few
        return
    named = f"task: the metric {name_of(metric)} of {name_of(task)}"
    for name, value in scores.items():
        if not hasattr(value, "__float__"):
            raise ConfigError(f"{named} gives {_told(value)} as {name}\n  it must be a number")
    wanted = task.objective.metric
    if wanted not in scores and wanted not in task.own_metrics:
        raise ConfigError(
            f"{named} gives no {wanted!r}, which is the task's objective\n"
            f"  it gives {', '.join(map(str, scores)) or 'nothing'}"
        )


def _tried(task: Task, does: str, batch: Batch, call: Callable[[], Answer]) -> Answer:
    try:
        return call()
    except Exception as error:
        if isinstance(error, TrainwrightError) or is_out_of_memory(error):
            raise
        shapes = " and ".join(f"{name} {tuple(column.shape)}" for name, column in batch.items())
        what = f"task: {name_of(task)}.{does} fails with a batch of {shapes or 'no columns'}"
        raise own_code_failed(what, error) from error


def _told(found: object) -> str:
    """What something is, for a message."""
    if isinstance(found, Tensor):
        return f"a tensor of shape {tuple(found.shape)}"
    return f"a {type(found).__name__}"

"""Whether it pays to train like runs as one program on this machine: a few steps say so."""

import contextlib
import hashlib
import json
import time
from collections.abc import Callable, Sequence
from statistics import median
from typing import NamedTuple

import torch
from platformdirs import user_cache_path
from torch import nn

from trainwright.engine.device.environment import environment
from trainwright.engine.device.memory import is_out_of_memory
from trainwright.engine.step import Move, train_step
from trainwright.errors import DiskError, NonFiniteError
from trainwright.files import write_text
from trainwright.run.assemble.assemble import Assembly
from trainwright.stack.step import Stack

CHANGED = 3  # how often stacks have become faster: what was measured before that is not asked for
ROUNDS = 3
SECONDS_A_ROUND = 0.05  # and side


class Gain(NamedTuple):
    """What stacking brings: how many times as fast, or the reason why it cannot be done."""

    speedup: float
    refused: str | None = None


def gain(key: str, num_members: int, make: Callable[[int], Assembly]) -> Gain:
    """What it brings to stack so many runs, as measured once on this machine and kept.

    `make(k)` is member number k, of runs that are alike; `key` says what they are.
    """
    one = make(0)
    where = environment(one.state.placement, one.dataset)
    known = json.dumps([CHANGED, key, num_members, where])
    name = hashlib.sha256(known.encode()).hexdigest()[:20]
    path = user_cache_path("trainwright") / "stacks" / f"{name}.json"
    with contextlib.suppress(OSError, ValueError, TypeError):
        return Gain(**json.loads(path.read_text()))
    while num_members > 1:
        try:
            found = _measured(one, [make(k) for k in range(num_members)])
        except Exception as error:
            if not is_out_of_memory(error):
                raise
            num_members //= 2
            continue
        with contextlib.suppress(OSError, DiskError):  # nowhere to keep it: it is measured anew
            path.parent.mkdir(parents=True, exist_ok=True)
            write_text(path, json.dumps(found._asdict()))
        return found
    return Gain(0.0, "memory does not hold two of them at once")  # today


def _measured(one: Assembly, members: Sequence[Assembly]) -> Gain:
    """What it brings to stack the members, `one` of which is here once more to train alone."""
    on_gpu = one.state.placement.device.type == "cuda"
    if on_gpu and any(isinstance(module, nn.Dropout) for module in one.state.task.modules()):
        return Gain(0.0, "dropout on a GPU, whose masks would differ from those of a run alone")
    try:
        steps = steps_together(members)
        steps()
    except Exception as error:  # whatever vmap or a network of a user's has to say
        if is_out_of_memory(error):
            raise
        return Gain(0.0, (str(error).strip().splitlines() or [type(error).__name__])[0])
    step = step_alone(one)
    ratios = []
    for _ in range(ROUNDS):
        seconds = _seconds(steps, on_gpu) / len(members)
        ratios.append(_seconds(step, on_gpu) / seconds)
    return Gain(round(median(ratios), 3))


def step_alone(run: Assembly) -> Callable[[], None]:
    """What makes the next step of a run, without its hooks; whether it diverges is not asked."""

    def make() -> None:
        with contextlib.suppress(NonFiniteError):
            train_step(run.state, run.train.at(run.state.step), run.settings)
        run.state.step += 1

    return make


def steps_together(runs: Sequence[Assembly]) -> Callable[[], None]:
    """What makes the next step of each of these runs as one program, without their hooks."""
    stack = Stack([Move(run.state, run.train, run.settings) for run in runs])

    def make() -> None:
        stack.step()
        for run in runs:
            run.state.step += 1

    return make


def _seconds(make_step: Callable[[], None], on_gpu: bool) -> float:
    """What a step takes, in seconds, over some steps in a row."""
    begun, num_steps = time.perf_counter(), 0
    while num_steps < 2 or time.perf_counter() - begun < SECONDS_A_ROUND:
        make_step()
        num_steps += 1
    if on_gpu:
        torch.cuda.synchronize()
    return (time.perf_counter() - begun) / num_steps

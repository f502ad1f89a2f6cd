"""One real batch through every distinct model before a sweep starts, and what that measures."""

import json
import resource
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from trainwright.config.plan import Plan
from trainwright.engine.checkpoint import checkpoint
from trainwright.engine.clock import Clock
from trainwright.engine.step import train_step
from trainwright.errors import NonFiniteError, TrainwrightError
from trainwright.run.assemble.assemble import Assembly, assemble, check_variant
from trainwright.run.assemble.rehearsal import check_parent
from trainwright.stack.measure import gain
from trainwright.sweep.stacking import stack_key
from trainwright.sweep.workers.attempt import FindData
from trainwright.sweep.workers.tasks import model_key

SECONDS_A_MODEL = 0.15  # spent on timing steps


def rehearse(task: Mapping[str, Any], find_data: FindData) -> None:
    """Check every config of `task["configs"]`, measure its model, and try the stacks.

    Each adds a line to `task["result"]`: {"error", "code"} or {"steps", "seconds", "bytes", ...}.
    The file grows as the rehearsal goes on, so that a model that kills this process is known.
    """
    torch.set_num_threads(task["threads"])
    rehearsal, is_wrong = _Rehearsal(find_data), False
    with Path(task["result"]).open("a", buffering=1) as file:
        for config in task["configs"]:
            try:
                found = rehearsal.of(config)
            except TrainwrightError as error:
                found = {"error": str(error), "code": error.exit_code}
            except Exception as error:
                first = (str(error).strip().splitlines() or [""])[0]
                found = {"error": f"{type(error).__name__}: {first}", "code": 1}
            is_wrong |= "error" in found
            file.write(json.dumps(found) + "\n")
        if is_wrong:  # nothing will be started, and that job may be one of a group
            return
        for configs in task["groups"]:
            file.write(json.dumps(_tried(configs, find_data)) + "\n")


def _tried(configs: Sequence[dict[str, Any]], find_data: FindData) -> dict[str, Any]:
    """What it brings to stack runs of these configs, which are alike."""
    known = find_data(configs[0]["data"])

    def make(number: int) -> Assembly:
        nonlocal known
        assembly = assemble(Plan.of(configs[number]), dataset=known)
        known = assembly.dataset
        return assembly

    key = [stack_key(configs[0]), configs[0]["optimizer"].get("_target_")]
    return gain(json.dumps(key), len(configs), make)._asdict()


class _Rehearsal:
    """Remembers the last model, and what has been found of configs that differ in the seed."""

    def __init__(self, find_data: FindData) -> None:
        self._find_data = find_data
        self._base = _peak_memory()
        self._key = ""
        self._assembly: Assembly | None = None
        self._measured: dict[str, Any] = {}
        self._found: dict[str, dict[str, Any]] = {}

    def of(self, config: dict[str, Any]) -> dict[str, Any]:
        """What the table of the plan needs of one job. Raises what building it raises."""
        parts = {k: v for k, v in config.items() if k not in ("seed", "run", "trust")}
        text = json.dumps(parts, sort_keys=True)
        if text not in self._found:
            self._found[text] = self._rehearse(config)
        return self._found[text]

    def _rehearse(self, config: dict[str, Any]) -> dict[str, Any]:
        plan, key = Plan.of(config), model_key(config)
        if key != self._key or self._assembly is None:
            self._key, self._assembly = key, None
            check_parent(plan)
            self._assembly = assemble(plan, dataset=self._find_data(config["data"]))
            self._measured = _measure(self._assembly, self._base)
            clock = self._assembly.state.clock
        else:
            clock = check_variant(plan, self._assembly)
        return _estimate(plan, self._assembly, clock, self._measured)


def _estimate(
    plan: Plan, assembly: Assembly, clock: Clock, measured: dict[str, Any]
) -> dict[str, Any]:
    every = clock.steps(plan.settings.evaluate_every)
    evaluations = 0 if every <= 0 else max(1, round(clock.total_steps / max(every, 1)))
    evaluated = len(assembly.dataset.validation) * evaluations + len(assembly.dataset.test)
    forward = measured["step"] / 3 / assembly.settings.batch_size  # a backward pass costs two
    seconds = clock.total_steps * measured["step"] + evaluated * forward
    objective = assembly.state.task.objective
    return {
        **measured,
        "steps": clock.total_steps,
        "seconds": seconds,
        "objective": objective.metric,
        "higher_is_better": objective.higher_is_better,
        "device": assembly.state.placement.device.type,
    }


def _measure(assembly: Assembly, base: int) -> dict[str, Any]:
    """Time a few training steps; the first one shows that the model runs at all."""
    state, settings = assembly.state, assembly.settings
    on_gpu = state.placement.device.type == "cuda"
    if on_gpu:
        torch.cuda.empty_cache()  # of the model before
        torch.cuda.reset_peak_memory_stats()
    state.task.train()
    seconds, step = 0.0, 0
    while seconds < SECONDS_A_MODEL or step < 2:
        started = time.perf_counter()
        try:
            train_step(state, assembly.train.at(step), settings)
        except NonFiniteError:  # a learning rate that is too high is for the sweep to find out
            seconds = max(seconds, time.perf_counter() - started)
            break
        if on_gpu:
            torch.cuda.synchronize()
        if step > 0:  # the first one also allocates
            seconds += time.perf_counter() - started
        step += 1
    tensors = checkpoint.state_tensors(state)
    return {
        "step": seconds / max(1, step - 1),
        "bytes": sum(value.nbytes for value in tensors.values()),
        "shared_memory": base,
        "memory": max(0, _peak_memory() - base),
        "gpu_memory": torch.cuda.max_memory_reserved() if on_gpu else 0,
    }


def _peak_memory() -> int:
    """The most memory that this process has had, in bytes, what it shares with others included."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else 1024 * peak

"""Whole training steps as CUDA graphs: captured once, and then launched by one call.

Of a small network's step on a GPU the launching of its hundred kernels, one by one from Python,
takes several times as long as the kernels. A graph holds all launches of a step with the addresses
that they read and write, so it needs a step on tensors that stay where they are and that reads no
number: `engine/fast/static_step.py`. Torch's rules for a capture:
https://docs.pytorch.org/docs/stable/notes/cuda.html#cuda-graphs

A graph is captured for each kind of step that a task has (`Task.pattern`), after a few of that kind
were made one kernel after the other. Those are steps of the run like others, and capturing runs
nothing: with graphs and without a run makes the same steps. Torch fills in what the random
generators have come to at each launch.
"""

import gc
import logging
import random
import warnings
from collections.abc import Callable, Hashable
from dataclasses import replace
from typing import NamedTuple

import numpy as np
import torch

from trainwright.engine.device.memory import is_out_of_memory
from trainwright.engine.fast.static_step import StaticStep
from trainwright.engine.optim.fused import has_begun
from trainwright.engine.state import Copies, TrainState
from trainwright.engine.step import Metrics, Move
from trainwright.errors import ConfigError, TrainwrightError

log = logging.getLogger(__name__)

WARM_UPS = 3  # steps before a capture, in which libraries choose kernels and take their memory
MOST_GRAPHS = 32  # each holds a step's memory, and a task with more kinds has hardly two alike


class OnDeviceSteps:
    """Makes the steps of a run as `StaticStep` computes them, by graphs where that goes."""

    def __init__(self) -> None:
        self._move: Move | None = None
        self._next_step = -1
        self._static: StaticStep | None = None
        self._graphs: _Graphs | None = None
        self._is_tried = False  # whether a step was made so on this device

    def make(self, move: Move) -> Metrics | None:
        """Make a step; None where it is not to be made so, as the first of an optimizer."""
        step = move.state.step
        if self._static is None or move is not self._move or step != self._next_step:
            self._begin(move)  # a run that has gone back has other tensors than it had
        self._next_step = step + 1
        if self._static is None:
            return None
        if self._graphs is not None and not self._is_tried:
            return self._try(move.state, self._static, self._graphs)
        self._static.feed(step)
        return self._static.compute(step) if self._graphs is None else self._graphs.run(step)

    def _try(self, state: TrainState, static: StaticStep, graphs: "_Graphs") -> Metrics | None:
        """Make the first step on a GPU; where that fails, all is put back and made plainly.

        Mistakes of a task have shown themselves in a plain step before, or will in the next.
        """
        tasks = [state.task] if state.averaged is None else [state.task, state.averaged.task]
        changed = [t for task in tasks for t in (*task.parameters(), *task.buffers())]
        changed += [t for optimizer in state.optimizers.values() for t in optimizer.memory()]
        before = Copies(changed)
        try:
            static.feed(state.step)
            metrics = graphs.run(state.step)
        except Exception as error:
            if isinstance(error, TrainwrightError) or is_out_of_memory(error):
                raise
            before.put_back()
            graphs.give_up(_first_line(error))
            state.placement = replace(state.placement, static=False)
            self._static = state.unread = None
            return None
        self._is_tried = True
        return metrics

    def _begin(self, move: Move) -> None:
        state = move.state
        self._move, self._static, self._graphs, state.unread = move, None, None, None
        inner = [o for optimizer in state.optimizers.values() for o in optimizer.optimizers]
        if not all(has_begun(optimizer) for optimizer in inner):
            return
        self._static = StaticStep(move)
        if state.placement.device.type == "cuda":
            self._graphs = _Graphs(self._static, move)


class _Captured(NamedTuple):
    graph: torch.cuda.CUDAGraph
    metrics: Metrics  # tensors that each launch writes anew


class _Graphs:
    """The graphs of one run's steps, by their kind."""

    def __init__(self, static: StaticStep, move: Move) -> None:
        self._static = static
        self._task = move.state.task
        self._is_wanted = move.settings.cuda_graph == "on"
        self._device = move.state.placement.device
        with torch.cuda.device(self._device):
            # That of the captures, and of the steps before, which make things ready for them.
            self._stream: torch.cuda.Stream = torch.cuda.Stream()  # type: ignore[no-untyped-call]
            self._pool = torch.cuda.graph_pool_handle()
        self._captured: dict[Hashable, _Captured] = {}
        self._num_warm: dict[Hashable, int] = {}
        self._has_given_up = False

    def run(self, step: int) -> Metrics:
        """Make a step that has been fed."""
        kind = (self._task.turns(step), self._task.pattern(step))
        captured = self._captured.get(kind)
        if self._has_given_up:
            return self._static.compute(step)
        if captured is None:
            num_warm = self._num_warm.get(kind, 0)
            if num_warm < WARM_UPS:
                self._num_warm[kind] = num_warm + 1
                return self._warm_up(step, is_last=num_warm + 1 == WARM_UPS)
            captured = self._capture(step, kind)
        if captured is None:
            return self._static.compute(step)
        captured.graph.replay()
        return captured.metrics

    def _warm_up(self, step: int, *, is_last: bool) -> Metrics:
        """Make a step kernel by kernel; the last one tells whether the next can be captured."""
        if not is_last:
            return self._aside(lambda: self._static.compute(step))
        before = _draws_of_the_host(self._static.device)
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            torch.cuda.set_sync_debug_mode("warn")
            try:
                metrics = self._aside(lambda: self._static.compute(step))
            finally:
                torch.cuda.set_sync_debug_mode("default")
        for warning in caught:
            if "called a synchronizing CUDA operation" in str(warning.message):
                where = f"{warning.filename}:{warning.lineno}"
                self.give_up(f"a step waits for the GPU in {where}")
        # A graph would launch the same numbers again and again.
        if _draws_of_the_host(self._static.device) != before:
            self.give_up("the task draws random numbers on the host")
        if any(value.device != self._static.device for value in metrics.values()):
            self.give_up("the task logs numbers of the host")
        if self._static.task_looks and self._task.pattern(step) is None:
            self.give_up("the task looks at the step, or at the share of the run that is done")
        if len(self._num_warm) > MOST_GRAPHS:
            self.give_up(f"the task has more than {MOST_GRAPHS} kinds of steps")
        return metrics

    def _capture(self, step: int, kind: Hashable) -> _Captured | None:
        """Record what a step does without doing it; None where that fails."""
        graph = torch.cuda.CUDAGraph()
        graph.register_generator_state(self._static.generator)
        gc.collect()  # what an old graph of autograd holds on to has been on another stream
        with torch.cuda.device(self._device):
            before = torch.cuda.current_stream()
            try:
                with torch.cuda.graph(graph, pool=self._pool, stream=self._stream):
                    metrics = self._static.compute(step)
            except Exception as error:
                torch.cuda.set_stream(before)  # a capture that fails leaves its own behind
                first = error.__context__ if isinstance(error.__context__, Exception) else error
                if is_out_of_memory(error) or is_out_of_memory(first):
                    self.give_up("there is too little memory for it")
                else:
                    self.give_up(_first_line(first))
                return None
        self._captured[kind] = _Captured(graph, metrics)
        return self._captured[kind]

    def _aside(self, compute: Callable[[], Metrics]) -> Metrics:
        """Compute on the stream of the captures, in order with all that is done elsewhere."""
        with torch.cuda.device(self._device):
            current = torch.cuda.current_stream()
            self._stream.wait_stream(current)
            with torch.cuda.stream(self._stream):
                metrics = compute()
            current.wait_stream(self._stream)
        return metrics

    def give_up(self, reason: str) -> None:
        """Make all steps kernel by kernel from here on. Raises ConfigError if graphs are a must."""
        if self._is_wanted:
            raise ConfigError(
                f"trainer.cuda_graph=on, but the step cannot be captured: {reason}\n"
                "  with auto it is made without one"
            )
        if not self._has_given_up:
            self._has_given_up = True
            self._captured.clear()
            log.info("no CUDA graph: %s", reason)


def _first_line(error: BaseException) -> str:
    return str(error).strip().partition("\n")[0] or type(error).__name__


def _draws_of_the_host(device: torch.device) -> object:
    """How far the random generators of the host have come."""
    by_numpy = np.random.get_state(legacy=False)["state"]
    by_torch = torch.default_generator.get_state() if device.type != "cpu" else torch.empty(0)
    return (
        random.getstate(),
        bytes(by_torch.numpy()),
        (bytes(by_numpy["key"]), by_numpy["pos"]),
    )

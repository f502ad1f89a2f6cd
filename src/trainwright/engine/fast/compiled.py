"""The networks of a task by torch.compile: code made for them, which takes a while to make.

Compiled is what a training step computes with a network, forward and backward. Whoever evaluates
or generates calls it as it is written: those batches have other shapes, each to be compiled anew.
So is it where it is called on a leaf that requires a gradient, as for a penalty on the gradient at
the input: torch cannot compile what is differentiated twice.
"""

import logging
import time
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from trainwright.errors import ConfigError
from trainwright.tasks.task import Task

log = logging.getLogger(__name__)


def compile_networks(task: Task) -> None:
    """Have torch compile the modules that `task.compilable` names when they are first trained.

    Raises ConfigError where there is no compiler.
    """
    _check_compiler(next(task.parameters()).device)
    torch.compiler.reset()  # what earlier runs of this process have compiled counts towards a limit
    story, compiled = _Story(), {}
    for name, network in task.compilable.items():
        # The slot of nn.Module.compile(): a copy of the module does not take it over.
        network._compiled_call_impl = compiled[name] = _Compiled(network, story)
    _warn_of_what_is_not_called(task, compiled)


class _Compiled:
    """Calls a network as compiled code where it is trained, else as it is written."""

    def __init__(self, network: nn.Module, story: "_Story") -> None:
        self.is_called = False  # in a training step
        self._network = network
        self._story = story
        self._as_written: Callable[..., Any] = network._call_impl
        # Torch's own draws, so that dropout drops what it drops in the network as it is written.
        self._compiled: Callable[..., Any] = torch.compile(
            self._as_written, dynamic=False, options={"fallback_random": True}
        )

    def __call__(self, *inputs: Any, **named: Any) -> Any:
        is_trained = self._network.training and torch.is_grad_enabled()
        self.is_called |= is_trained
        if not is_trained or any(map(_is_looked_through, (*inputs, *named.values()))):
            return self._as_written(*inputs, **named)
        if not self._story.is_told:
            self._story.called(self)
        return self._compiled(*inputs, **named)


def _is_looked_through(value: Any) -> bool:
    """Whether the gradient at an input is asked for."""
    return isinstance(value, Tensor) and value.is_leaf and value.requires_grad


def _warn_of_what_is_not_called(task: Task, compiled: Mapping[str, _Compiled]) -> None:
    """Say, when each player has had a turn, which networks no turn has called as modules."""
    still_to_move = set(task.players)

    def turn_ended(_: nn.Module, turn: tuple[Any, ...], __: Any) -> None:
        still_to_move.discard(turn[0])
        if still_to_move:
            return
        handle.remove()
        for name in [name for name, network in compiled.items() if not network.is_called]:
            log.warning(
                "%s is not compiled: %s does not call it as a module, as self.%s(...) does",
                name,
                type(task).__name__,
                name,
            )

    handle = task.register_forward_hook(turn_ended)


class _Story:
    """Says when compiling begins, and how long it has taken when the first network comes again."""

    def __init__(self) -> None:
        self.is_told = False
        self._first: _Compiled | None = None
        self._started = 0.0

    def called(self, network: _Compiled) -> None:
        """Take note that a network is about to compute."""
        if self._first is None:
            self._first, self._started = network, time.perf_counter()
            log.info("compiling: up to half a minute a network, and seconds in a later run")
        elif network is self._first:
            self.is_told = True
            log.info("compiled: the first step took %.1f s", time.perf_counter() - self._started)


def _check_compiler(device: torch.device) -> None:
    """Raise ConfigError where torch does not find what it compiles with for a device."""
    if device.type == "cpu":
        from torch._inductor.cpp_builder import get_cpp_compiler
        from torch._inductor.exc import InvalidCxxCompiler

        try:
            get_cpp_compiler()
        except (InvalidCxxCompiler, OSError):
            raise ConfigError(
                "trainer.compile=true needs a C++ compiler, and torch finds none\n"
                "  install g++ (on Debian or Ubuntu: apt install g++), or set CXX to another one"
            ) from None
    elif device.type == "cuda":
        from torch.utils._triton import has_triton

        if not has_triton():
            raise ConfigError(
                "trainer.compile=true needs Triton on a CUDA device, and torch finds none that "
                "works there\n  pip install triton"
            )

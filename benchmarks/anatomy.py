"""Where the time of a step goes, and the least that it could take: `make anatomy`.

    python benchmarks/anatomy.py model=cnn data=mnist trainer.batch_size=128

Takes what `train` takes, and trains as it does, hooks and all, in a folder that is thrown away.
Without trainer.steps it makes 300 steps. The floor is the step's multiplications at the best rate
that matrices reach here, on this device in this precision, and the bytes that all its other
operations read and write at the best rate of a copy: no network made of these operations can be
faster. What a small one does beyond that is waiting for Python, or for caches.
"""

import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from floor import Floor, floor

import trainwright.run.course
from trainwright.cli.train import main as train
from trainwright.data.batches import Batches
from trainwright.engine.hook import Hook
from trainwright.engine.optim.averages import AveragedTask
from trainwright.engine.optim.player_optimizer import PlayerOptimizer
from trainwright.engine.settings import TrainerSettings
from trainwright.engine.state import TrainState
from trainwright.engine.trainer import Training

WARM_UP = 20  # steps
PARTS = ("data", "forward", "backward", "optimizer", "average")


class Stopwatch:
    """Adds up the seconds spent in functions, each under a name."""

    def __init__(self, device: torch.device) -> None:
        self.seconds: Counter[str] = Counter()
        self.calls: Counter[str] = Counter()
        self._is_cuda = device.type == "cuda"

    def now(self) -> float:
        """The time, once the device has done what it was told to."""
        if self._is_cuda:
            torch.cuda.synchronize()
        return time.perf_counter()

    def timed(self, owner: Any, method: str, name: str) -> None:
        """From now on measure `owner.method` under `name`."""
        function: Callable[..., Any] = getattr(owner, method)

        def measured(*args: Any, **kwargs: Any) -> Any:
            begun = self.now()
            try:
                return function(*args, **kwargs)
            finally:
                self.seconds[name] += self.now() - begun
                self.calls[name] += 1

        setattr(owner, method, measured)

    def reset(self) -> None:
        """Forget the warm-up."""
        self.seconds.clear()
        self.calls.clear()


class Begin(Hook):
    """Starts the clock anew after the warm-up."""

    def __init__(self, watch: Stopwatch) -> None:
        self._watch = watch
        self.begun = watch.now()
        self.step = 0

    def due(self, step: int, total: int) -> bool:
        """Once."""
        return step == min(WARM_UP, total - 1)

    def __call__(self, state: TrainState, metrics: dict[str, torch.Tensor]) -> None:
        """The steps that count begin."""
        self._watch.reset()
        self.begun, self.step = self._watch.now(), state.step


def fitting_measured(
    state: TrainState, batches: Batches, hooks: Sequence[Hook], settings: TrainerSettings
) -> Training[None]:
    """Train with every part of a step under a stopwatch, then print."""
    watch = Stopwatch(state.placement.device)
    watch.timed(type(batches), "at", "data")
    watch.timed(type(state.task), "forward", "forward")
    watch.timed(torch.autograd, "grad", "backward")
    watch.timed(PlayerOptimizer, "step", "optimizer")
    watch.timed(AveragedTask, "update", "average")
    for hook in hooks:
        watch.timed(type(hook), "__call__", type(hook).__name__)
    begin = Begin(watch)
    yield from fitting(state, batches, [*hooks, begin], settings)
    seconds, num_steps = watch.now() - begin.begun, state.step - begin.step
    per_step = {name: spent / num_steps for name, spent in watch.seconds.items()}
    calls = dict(watch.calls)
    names = [type(hook).__name__ for hook in hooks]
    _print(state, settings, seconds / num_steps, per_step, calls, names, num_steps)
    _print_floor(floor(state, batches, settings), seconds / num_steps)


def _print(
    state: TrainState,
    settings: TrainerSettings,
    step: float,
    per_step: dict[str, float],
    calls: dict[str, int],
    hooks: Sequence[str],
    num_steps: int,
) -> None:
    speed = settings.batch_size / step
    print(
        f"\n{num_steps} steps of {step * 1e3:.2f} ms, batch {settings.batch_size}: {speed:,.0f}/s"
    )
    print(f"  on {state.placement.describe()}")
    of_hooks = sum(per_step.get(name, 0.0) for name in hooks)
    parts = {name: per_step[name] for name in PARTS if name in per_step}
    parts["hooks"] = of_hooks
    parts["the rest"] = step - sum(parts.values())
    for name, seconds in parts.items():
        print(f"  {name:10} {seconds * 1e3:8.3f} ms {seconds / step:5.0%}")
        for hook in hooks if name == "hooks" else ():
            if calls.get(hook):
                once = per_step[hook] * num_steps / calls[hook]
                print(f"    {hook:8} {per_step[hook] * 1e3:8.3f} ms, {once * 1e3:.1f} ms each time")


def _print_floor(least: Floor, step: float) -> None:
    print("floor")
    print(
        f"  arithmetic {least.arithmetic * 1e3:8.3f} ms: {least.flops / 1e6:,.0f} MFLOP "
        f"at {least.flops_a_second / 1e9:,.0f} GFLOP/s"
    )
    print(
        f"  memory     {least.memory * 1e3:8.3f} ms: {least.bytes / 1e6:,.1f} MB "
        f"at {least.bytes_a_second / 1e9:,.0f} GB/s"
    )
    total = least.arithmetic + least.memory
    print(f"  the step takes {step / total:.1f} times the {total * 1e3:.2f} ms of both\n")


def main(typed: list[str]) -> None:
    """Train in a folder that is thrown away."""
    if not any(word.startswith(("trainer.steps", "trainer.epochs")) for word in typed):
        typed = [*typed, "trainer.steps=300"]
    trainwright.run.course.fitting = fitting_measured
    with tempfile.TemporaryDirectory() as folder:
        train([*typed, f"run.dir={Path(folder) / 'run'}"])


fitting = trainwright.run.course.fitting

if __name__ == "__main__":
    main(sys.argv[1:])

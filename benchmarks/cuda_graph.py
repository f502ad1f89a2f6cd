"""Steps on a CUDA device: as one graph, kernel by kernel, and by eager Lightning.

    python benchmarks/cuda_graph.py [--steps 3000] [--rounds 3]

MLP 784-512-256-10 on drawn images of 28x28, batch 128, Adam, fp32, one side after the other, in
rounds. Ours is a run without hooks, its data on the device. Lightning reads it through a DataLoader
from the host, as its documentation has it, once as it comes and once with `barebones=True`; it is
left out where it is not installed (pip install -e .[bench]). Given are steps a second after 500.
The bar: the graph makes at least 5 times the steps of eager Lightning.
"""

import argparse
import importlib.util
import logging
import statistics
import sys
import time
from typing import Any

import torch
from composed import ready
from generated import draw

from trainwright.engine.hook import Hook
from trainwright.engine.state import TrainState
from trainwright.engine.trainer import fit

BATCH_SIZE, NUM_IMAGES = 128, 55_000


class Clock(Hook):
    """Notes the time after two steps, when the device has made them."""

    def __init__(self, first: int, last: int) -> None:
        self._times: dict[int, float] = {}
        self._first, self._last = first, last

    def due(self, step: int, total: int) -> bool:
        """After these two."""
        return step in (self._first, self._last)

    def __call__(self, state: TrainState, metrics: dict[str, torch.Tensor]) -> None:
        """Note the time."""
        self.note(state.step)

    def note(self, step: int) -> None:
        """Wait for the device, and note the time after so many steps."""
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        self._times[step] = time.perf_counter()

    @property
    def steps_a_second(self) -> float:
        """Between the two."""
        seconds = self._times[self._last] - self._times[self._first]
        return (self._last - self._first) / seconds


def ours(graph: str, device: str, clock: Clock, num_steps: int) -> None:
    """A run of the trainer, without hooks but for the clock."""
    run = ready(
        "model=mlp",
        "data=generated",
        f"data.num_images={NUM_IMAGES}",
        "data.num_test=200",
        f"trainer.batch_size={BATCH_SIZE}",
        "trainer.precision=fp32",
        f"trainer.steps={num_steps}",
        f"trainer.device={device}",
        f"trainer.cuda_graph={graph}",
    )
    fit(run.state, run.train, [clock], run.settings)


def lightning(barebones: bool, clock: Clock, first: int, num_steps: int) -> None:
    """The peer of bench.py, on the device."""
    import lightning as L  # noqa: N812
    from peers.lightning import Classifier
    from torch.utils.data import DataLoader, TensorDataset
    from works import WORKS, classifier

    class Watch(L.Callback):  # type: ignore[misc]
        def on_train_batch_end(self, trainer: Any, *_: Any) -> None:
            if trainer.global_step in (first, num_steps):
                clock.note(trainer.global_step)

    images, classes = draw(NUM_IMAGES, (1, 28, 28), seed=0)
    data = TensorDataset(images.float() / 255, classes)
    options: dict[str, Any] = {"barebones": True} if barebones else {"logger": False}
    if not barebones:
        options |= {"enable_checkpointing": False, "enable_progress_bar": False}
    # A barebones trainer takes no callbacks: its module has the same hook.
    model = Classifier(classifier(WORKS["mlp64"]))
    watch = Watch()
    if barebones:
        model.on_train_batch_end = lambda *_: watch.on_train_batch_end(model.trainer)
    else:
        options["callbacks"] = [watch]
    trainer = L.Trainer(max_steps=num_steps, accelerator="gpu", devices=1, **options)
    trainer.fit(model, DataLoader(data, batch_size=BATCH_SIZE, shuffle=True, pin_memory=True))


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--steps", type=int, default=3000)
    parser.add_argument("--rounds", type=int, default=3)
    args = parser.parse_args()
    if not torch.cuda.is_available():
        sys.exit("benchmarks/cuda_graph.py needs a CUDA device, and torch finds none here")
    logging.getLogger("trainwright").setLevel(logging.WARNING)
    first = 500
    sides: dict[str, Any] = {
        "graph": lambda clock: ours("on", "cuda", clock, args.steps),
        "kernel by kernel": lambda clock: ours("off", "cuda", clock, args.steps),
    }
    if importlib.util.find_spec("lightning") is not None:
        sides |= {
            "Lightning": lambda clock: lightning(False, clock, first, args.steps),
            "Lightning, barebones": lambda clock: lightning(True, clock, first, args.steps),
        }
    found: dict[str, list[float]] = {name: [] for name in sides}
    print(torch.cuda.get_device_name())
    for number in range(1, args.rounds + 1):
        for name, side in sides.items():
            clock = Clock(first, args.steps)
            side(clock)
            found[name].append(clock.steps_a_second)
        shown = "  ".join(f"{name} {speeds[-1]:,.0f}/s" for name, speeds in found.items())
        print(f"round {number}: {shown}", flush=True)
    for name in list(sides)[1:]:
        ratios = [a / b for a, b in zip(found["graph"], found[name], strict=True)]
        spread = f"{min(ratios):.2f} to {max(ratios):.2f}"
        print(f"graph / {name}: median {statistics.median(ratios):.2f} ({spread})")


if __name__ == "__main__":
    main()

"""What the trainer costs over a bare loop: MLP 784-512-256-10 on MNIST, batch 64, Adam, 2 threads.

    python benchmarks/overhead.py [--root DATA] [--rounds 5] [--epochs 2]

DATA is a folder with mnist/*.gz; without it the cache is used, and MNIST downloaded to it.

All sides train the same network on the same data in memory in fp32. A machine's speed may double
from one second to the next, so they take turns every 25 steps, in one process: the trainer in a
whole run with its hooks at their defaults (evaluations, logs, checkpoints, and their time counts),
and two bare loops, one with torch.optim.Adam as it comes, one with fused=True, which is what the
trainer uses. Prints examples a second and the trainer's ratio to either.
"""

import argparse
import logging
import statistics
import tempfile
import time
from collections.abc import Callable

import torch
from composed import composed
from torch import Tensor, nn
from torch.nn import functional

from trainwright.config.plan import Plan
from trainwright.data.sources.idx import load_idx
from trainwright.engine.hook import Hook
from trainwright.engine.state import TrainState
from trainwright.run import course
from trainwright.run.request import Request
from trainwright.run.run import run

BATCH_SIZE = 64
TURN = 25  # steps


def bare_loop(images: Tensor, classes: Tensor, fused: bool) -> Callable[[], None]:
    """A hand-written training step over float tensors in memory, (N, 784) and (N,)."""
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Linear(784, 512), nn.ReLU(), nn.Linear(512, 256), nn.ReLU(), nn.Linear(256, 10)
    )
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3, fused=fused)
    order, position = torch.randperm(len(images)), 0

    def step() -> None:
        nonlocal order, position
        if position + BATCH_SIZE > len(images):
            order, position = torch.randperm(len(images)), 0
        index = order[position : position + BATCH_SIZE]
        position += BATCH_SIZE
        loss = functional.cross_entropy(model(images[index]), classes[index])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

    return step


class Turns(Hook):
    """Every 25 steps of the trainer, lets each bare loop make as many, and keeps their time."""

    def __init__(self, loops: dict[str, Callable[[], None]]) -> None:
        self._loops = loops
        self.seconds = dict.fromkeys(loops, 0.0)
        self.steps = 0

    def due(self, step: int, total: int) -> bool:
        """After each turn of the trainer's."""
        return step % TURN == 0

    def __call__(self, state: TrainState, metrics: dict[str, Tensor]) -> None:
        """The others' turns."""
        for name, step in self._loops.items():
            begun = time.perf_counter()
            for _ in range(TURN):
                step()
            self.seconds[name] += time.perf_counter() - begun
        self.steps += TURN


def measure(root: str | None, num_epochs: int) -> dict[str, float]:
    """One run of the trainer with the others' turns in it: examples a second of each."""
    config = composed(
        "model=mlp",
        "data=mnist",
        "trainer.precision=fp32",
        f"trainer.batch_size={BATCH_SIZE}",
        f"trainer.epochs={num_epochs}",
        f"data.root={root or 'null'}",
    )
    train = load_idx(name="mnist", root=root).train
    images, classes = train.columns["inputs"].flatten(1).float().div(255), train.columns["targets"]
    assert classes is not None
    plain, fused = (bare_loop(images, classes, fused) for fused in (False, True))
    turns = Turns({"bare, plain Adam": plain, "bare, fused Adam": fused})
    fitting, seconds = course.fitting, [0.0]

    def fitting_in_turns(state, batches, hooks, settings):  # type: ignore[no-untyped-def]
        begun = time.perf_counter()
        yield from fitting(state, batches, [*hooks, turns], settings)
        seconds[0] = time.perf_counter() - begun - sum(turns.seconds.values())

    course.fitting = fitting_in_turns
    try:
        with tempfile.TemporaryDirectory() as folder:
            config.run.dir = f"{folder}/run"
            run(Request(Plan.of(config, name="overhead")))
    finally:
        course.fitting = fitting
    num_steps = num_epochs * len(images) // BATCH_SIZE
    speeds = {name: turns.steps * BATCH_SIZE / spent for name, spent in turns.seconds.items()}
    return {"trainer": num_steps * BATCH_SIZE / seconds[0], **speeds}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description="The trainer against a bare loop.")
    parser.add_argument("--root", help="folder with mnist/*.gz")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--epochs", type=int, default=2)
    args = parser.parse_args()
    torch.set_num_threads(2)
    logging.getLogger("trainwright").setLevel(logging.WARNING)
    rounds = []
    for number in range(1, args.rounds + 1):
        rounds.append(measure(args.root, args.epochs))
        shown = "  ".join(f"{name} {speed:,.0f}/s" for name, speed in rounds[-1].items())
        print(f"round {number}: {shown}", flush=True)
    for name in list(rounds[0])[1:]:
        ratios = [speeds["trainer"] / speeds[name] for speeds in rounds]
        spread = f"{min(ratios):.3f} to {max(ratios):.3f}"
        print(f"trainer / {name}: median {statistics.median(ratios):.3f} ({spread})")


if __name__ == "__main__":
    main()

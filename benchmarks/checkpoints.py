"""What saving costs: an MLP and a GAN on MNIST, with checkpoints as by default and without.

    python benchmarks/checkpoints.py [mlp|gan ...] [--root DATA] [--rounds 3] [--threads 2]
        [--share-only]

DATA is a folder with mnist/*.gz; without it the cache is used, and MNIST downloaded to it.

Each run has a process of its own. Prints two figures for either model. The share is measured inside
the runs with checkpoints: the time in saves (hashing, writing, flushing to disk, renaming, keeping
the one before, and the flush of the log), divided by the time of the training loop. It holds on a
noisy machine, where the other figure does not: the seconds of the loop with checkpoints, divided by
those without; `--share-only` leaves those out.
"""

import argparse
import json
import logging
import statistics
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import NamedTuple

import torch
from composed import composed

from trainwright.config.plan import Plan
from trainwright.engine.state import TrainState
from trainwright.hooks.save import Save
from trainwright.run.request import Request
from trainwright.run.run import run

# Two saves each. An epoch of the MLP lies between them, as by default; half of that of the GAN, so
# that it is done sooner, and without a score, which makes the loop shorter: its share of saves is
# more than twice what it is by default.
RUNS = {
    "mlp": ("model=mlp", "model.widths=[512,256]", "trainer.epochs=2"),
    "gan": (
        "model=gan", "trainer.steps=376", "trainer.save_every=188", "trainer.evaluate_every=188",
        "trainer.sample_every=188", "task.score=none",
    ),
}  # fmt: skip


class Measured(NamedTuple):
    """The seconds of a training loop, and of the saves in it; how many those were."""

    loop: float
    saves: float
    num_saves: int


def measure(kind: str, root: str | None, threads: int, with_checkpoints: bool) -> Measured:
    """Train once in this process."""
    torch.set_num_threads(threads)
    logging.getLogger("trainwright").setLevel(logging.WARNING)
    save, spent = Save.save, []

    def timed(self: Save, state: TrainState, *, last: bool = True) -> None:
        if not with_checkpoints and state.step < state.clock.total_steps:
            return  # but at the end: the test wants the best weights
        begun = time.perf_counter()
        save(self, state, last=last)
        spent.append(time.perf_counter() - begun)

    Save.save = timed  # type: ignore[method-assign]
    config = composed(
        "data=mnist", "trainer.plots=false", *RUNS[kind], f"data.root={root or 'null'}"
    )
    runs = Path("outputs")
    runs.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(dir=runs) as folder:
        config.run.dir = f"{folder}/run"
        outcome = run(Request(Plan.of(config, name="checkpoints")))
        summary = json.loads((outcome.folder / "summary.json").read_text())
    return Measured(float(summary["seconds"]), sum(spent), len(spent))


def alone(*arguments: object) -> Measured:
    """Measure in a fresh process."""
    with ProcessPoolExecutor(max_workers=1, mp_context=get_context("spawn")) as process:
        return process.submit(measure, *arguments).result()


def main() -> None:
    """Measure in turns and print."""
    parser = argparse.ArgumentParser(description="What checkpoints cost.")
    parser.add_argument("--root", help="folder with mnist/*.gz")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--share-only", action="store_true", help="no runs without checkpoints")
    parser.add_argument("kinds", nargs="*", help="mlp, gan; by default both")
    args = parser.parse_args()
    for kind in args.kinds or RUNS:
        shares, ratios = [], []
        for number in range(1, args.rounds + 1):
            on = alone(kind, args.root, args.threads, True)
            shares.append(on.saves / on.loop)
            print(
                f"{kind}, round {number}: {on.loop:.1f} s with {on.num_saves} saves, "
                f"{on.saves:.3f} s in them",
                flush=True,
            )
            if not args.share_only:
                off = alone(kind, args.root, args.threads, False)
                ratios.append(on.loop / off.loop)
                print(f"{kind}, round {number}: {off.loop:.1f} s without", flush=True)
        for name, values in (("share of saves", shares), ("with / without", ratios)):
            if not values:
                continue
            spread = f"{min(values):.4f} to {max(values):.4f}"
            print(f"{kind}: {name} median {statistics.median(values):.4f} ({spread})")


if __name__ == "__main__":
    main()

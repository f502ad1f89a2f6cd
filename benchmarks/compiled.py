"""What trainer.compile=true brings on a CPU: steps with it and without, in turns in one process.

    python benchmarks/compiled.py [--works mlp,cnn,gan] [--precision fp32] [--threads 2] [--cold]

MLP 784-512-256-10 (batch 64), a CNN and a GAN as they come (batch 128), on drawn images of 28x28,
in the precision and memory format that auto chooses, or in fp32. A machine's speed may double from
one second to the next, so the two take turns of half a second; given are the median turn of either,
and the median ratio of neighbouring turns with its quartiles. With --cold torch begins with an
empty cache, and what the first step took is what a user waits for once; without, for every later
run.
"""

import argparse
import logging
import os
import statistics
import tempfile
import time

import torch
from composed import ready

from trainwright.engine.step import train_step
from trainwright.run.assemble.assemble import Assembly

TURN = 0.5  # seconds
WORKS = {
    "mlp": ["model=mlp", "trainer.batch_size=64"],
    "cnn": ["model=cnn", "trainer.batch_size=128"],
    "gan": ["model=gan", "trainer.batch_size=128", "task.score=none", "trainer.ema=null"],
}


def side(work: str, precision: str, *, compiled: bool) -> Assembly:
    """A run on drawn images."""
    run = ready(
        *WORKS[work],
        "data=generated",
        "data.num_images=6000",
        "data.num_test=200",
        f"trainer.precision={precision}",
        "trainer.steps=100000",
        f"trainer.compile={str(compiled).lower()}",
    )
    run.state.task.train()
    return run


def step(run: Assembly) -> float:
    """Make one; returns the seconds that it took."""
    begun = time.perf_counter()
    train_step(run.state, run.train.at(run.state.step), run.settings)
    run.state.step += 1
    return time.perf_counter() - begun


def turn(run: Assembly) -> float:
    """Seconds a step, over one turn."""
    begun, num_steps = time.perf_counter(), 0
    while time.perf_counter() - begun < TURN:
        step(run)
        num_steps += 1
    return (time.perf_counter() - begun) / num_steps


def measure(work: str, precision: str, num_turns: int) -> str:
    """A line about one work."""
    written, compiled = (side(work, precision, compiled=each) for each in (False, True))
    first = step(compiled)
    for run in (written, compiled):
        for _ in range(4):  # of a GAN's steps with R1 and without
            step(run)
    turns = [(turn(written), turn(compiled)) for _ in range(num_turns)]
    ratios = [before / after for before, after in turns]
    low, median, high = statistics.quantiles(ratios, n=4)
    before, after = (statistics.median(side) * 1e3 for side in zip(*turns, strict=True))
    return (
        f"{work}, {precision}: {before:.2f} ms a step, compiled {after:.2f}: {median:.2f} times "
        f"as fast ({low:.2f} to {high:.2f}); the first step took {first:.1f} s"
    )


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--works", default=",".join(WORKS))
    parser.add_argument("--precision", default="auto")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--turns", type=int, default=12)
    parser.add_argument("--cold", action="store_true")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    logging.getLogger("trainwright").setLevel(logging.WARNING)
    with tempfile.TemporaryDirectory() as folder:
        if args.cold:
            os.environ["TORCHINDUCTOR_CACHE_DIR"] = folder
        for work in args.works.split(","):
            print(measure(work, args.precision, args.turns), flush=True)


if __name__ == "__main__":
    main()

"""Does a step take longer with more data? And how long is the wait for the first one?

    python benchmarks/scaling.py [--counts 1000,10000,100000,1000000]

Images of 28x28 are drawn to a file, then an MLP (batch 64, fp32) is trained on so many of them,
once with the images in memory and once mapped from the file (as `data=folder` does with what does
not fit). All sizes are held in one process and train in turns of 50 steps, so that a machine whose
speed drifts slows all alike; given is the median turn. Start-up is all between the file and a run
that is ready to train (statistics, splits, model), beside merely reading the file. The file was
just written: it is read from the system's cache, not from the disk.
"""

import argparse
import os
import statistics
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from composed import ready
from generated import draw

from trainwright.engine.step import train_step
from trainwright.run.assemble.assemble import Assembly

SHAPE = (1, 28, 28)
TURN, NUM_TURNS = 50, 12


def on_stored(path: Path, mapped: bool, *options: str) -> Assembly:
    """A run on the images in the file."""
    place = (f"data.path={path}", f"data.mapped={str(mapped).lower()}")
    return ready("data=stored", *place, "trainer.steps=100000", *options)


def turn(run: Assembly) -> float:
    """Seconds a step, over one turn."""
    begun = time.perf_counter()
    for _ in range(TURN):
        train_step(run.state, run.train.at(run.state.step), run.settings)
        run.state.step += 1
    return (time.perf_counter() - begun) / TURN


def main() -> None:
    """Draw, assemble, train in turns, print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--counts", default="1000,10000,100000,1000000")
    counts = [int(count) for count in parser.parse_args().counts.split(",")]
    runs: dict[tuple[int, bool], Assembly] = {}
    started: dict[tuple[int, bool], float] = {}
    reading: dict[int, float] = {}
    with tempfile.TemporaryDirectory() as folder:
        for count in counts:
            path = Path(folder) / f"{count}.npy"
            images, classes = draw(count, SHAPE, seed=0)
            np.save(path.with_suffix(".images.npy"), images.numpy())
            np.save(path.with_suffix(".classes.npy"), classes.numpy())
            begun = time.perf_counter()
            np.load(path.with_suffix(".images.npy"))
            reading[count] = time.perf_counter() - begun
            for mapped in (False, True):
                begun = time.perf_counter()
                runs[count, mapped] = on_stored(path, mapped, "model=mlp", "trainer.precision=fp32")
                started[count, mapped] = time.perf_counter() - begun
        for run in runs.values():
            turn(run)  # to warm up
        seconds: dict[tuple[int, bool], list[float]] = {key: [] for key in runs}
        for _ in range(NUM_TURNS):
            for key, run in runs.items():
                seconds[key].append(turn(run))
    print(f"{os.cpu_count()} cores, {torch.get_num_threads()} threads")
    print("    images   ms/step  mapped   start-up s  mapped   reading s")
    for count in counts:
        steps = [statistics.median(seconds[count, mapped]) * 1e3 for mapped in (False, True)]
        starts = [started[count, mapped] for mapped in (False, True)]
        print(
            f"{count:>10,}  {steps[0]:8.2f}{steps[1]:8.2f}  {starts[0]:11.2f}{starts[1]:8.2f}"
            f"  {reading[count]:10.3f}"
        )
    first, last = (seconds[count, False] for count in (counts[0], counts[-1]))
    growth = statistics.median(b / a for a, b in zip(first, last, strict=True))
    in_memory, mapped = (seconds[counts[-1], is_mapped] for is_mapped in (False, True))
    speed = statistics.median(a / b for a, b in zip(in_memory, mapped, strict=True))
    print(f"a step on {counts[-1]:,} images takes {growth:.2f} times one on {counts[0]:,}")
    print(f"mapped from disk, {counts[-1]:,} images train at {speed:.2f} of the speed in memory")


if __name__ == "__main__":
    main()

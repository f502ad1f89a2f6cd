"""Does training keep its speed on images that memory does not hold?

    python benchmarks/streaming.py --folder BIG --gigabytes 2     # draws them, once, and measures

Run it again where memory is limited to less than that, in one of these ways:

    systemd-run --scope -p MemoryMax=1G python benchmarks/streaming.py --folder BIG
    docker run -m 1g ...

A CNN (batch 128) trains on images of 3x32x32, in turns of 25 steps: on 10,000 of them that are in
memory, and on all, mapped from the file as `data=folder` maps what it has decoded. Given is the
median turn, and the median of the ratios of neighbouring turns with its quartiles. A read is a
page that the process had to wait for, of 128 images in each step.
"""

import argparse
import statistics
import time
from pathlib import Path
from resource import RUSAGE_SELF, getrusage

import numpy as np
from generated import draw
from scaling import on_stored

from trainwright.engine.step import train_step
from trainwright.run.assemble.assemble import Assembly

SHAPE = (3, 32, 32)
PART, IN_MEMORY = 10_000, 10_000
TURN, NUM_TURNS = 25, 20


def write(folder: Path, num_images: int) -> None:
    """Draw the images part by part, so that memory need not hold them."""
    folder.mkdir(parents=True, exist_ok=True)
    shape = (num_images, *SHAPE)
    path = folder / "all.images.npy"
    stored = np.lib.format.open_memmap(path, mode="w+", dtype=np.uint8, shape=shape)
    classes = np.empty(num_images, dtype=np.int64)
    for start in range(0, num_images, PART):
        images, labels = draw(min(PART, num_images - start), SHAPE, seed=start)
        stored[start : start + PART] = images.numpy()
        classes[start : start + PART] = labels.numpy()
    stored.flush()
    np.save(folder / "all.classes.npy", classes)
    np.save(folder / "few.images.npy", stored[:IN_MEMORY])
    np.save(folder / "few.classes.npy", classes[:IN_MEMORY])


def turn(run: Assembly) -> tuple[float, float]:
    """Milliseconds and reads a step, over one turn."""
    begun, read = time.perf_counter(), getrusage(RUSAGE_SELF).ru_majflt
    for _ in range(TURN):
        train_step(run.state, run.train.at(run.state.step), run.settings)
        run.state.step += 1
    seconds = time.perf_counter() - begun
    return 1e3 * seconds / TURN, (getrusage(RUSAGE_SELF).ru_majflt - read) / TURN


def main() -> None:
    """Draw what is missing, train in turns, print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--gigabytes", type=float, default=2.0)
    parser.add_argument("--model", default="cnn")
    arguments = parser.parse_args()
    if not (arguments.folder / "few.classes.npy").exists():
        write(arguments.folder, round(arguments.gigabytes * 1e9 / np.prod(SHAPE)))
    options = (f"model={arguments.model}", "trainer.batch_size=128", "trainer.precision=auto")
    memory = on_stored(arguments.folder / "few", False, *options)
    disk = on_stored(arguments.folder / "all", True, *options)
    for run in (memory, disk):
        turn(run)
    turns = [(turn(memory), turn(disk)) for _ in range(NUM_TURNS)]
    speeds = [in_memory / mapped for (in_memory, _), (mapped, _) in turns]
    low, middle, high = statistics.quantiles(speeds, n=4)
    print(f"{len(disk.dataset.train):,} images of {np.prod(SHAPE):,} bytes, {arguments.model}")
    print(f"in memory: {statistics.median(a for (a, _), _ in turns):.1f} ms a step")
    print(f"mapped: {statistics.median(b for _, (b, _) in turns):.1f} ms a step,", end=" ")
    print(f"{statistics.median(reads for _, (_, reads) in turns):.1f} reads")
    print(f"mapped is {middle:.2f} times as fast ({low:.2f} to {high:.2f})")


if __name__ == "__main__":
    main()

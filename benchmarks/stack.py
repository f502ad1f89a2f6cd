"""What does it bring to train small runs as one program? Steps against their number; whole sweeps.

    python benchmarks/stack.py steps [--threads 1] [--counts 1,2,4,8,16,32] [--works small,...]
    python benchmarks/stack.py sweep [--members 32] [--epochs 1] [--root DATA] [--only stacked]

`steps`: so many runs on images of 28x28 with batches of 64, one after the other and stacked, in
one process and in turns, so that a machine whose speed drifts slows both alike; given is the median
turn of all members' steps (their batches included) and the median of the turns' ratios.

`sweep`: whole commands on MNIST, from Enter to the verdict: 784-64-64-10 with so many seeds, one
job at a time (with all cores, and with one thread), as many as there are cores, and stacked (DATA
holds mnist/*.gz; without it the cache is used). The plan's share, which is the same for all, is
taken by itself with sweep.dry_run.
"""

import argparse
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from generated import load_generated
from hydra import compose, initialize_config_dir
from measure import timed
from omegaconf import DictConfig, OmegaConf

from trainwright.config.compose import register_schema
from trainwright.config_folder import config_folder
from trainwright.data.dataset import Dataset
from trainwright.run.assemble import Assembly, assemble
from trainwright.stack.measure import step_alone, steps_together

WORKS = {
    "small": ["model.widths=[64,64]"],
    "small_fp32": ["model.widths=[64,64]", "trainer.precision=fp32"],
    "mlp": ["model.widths=[512,256]"],
    "cnn": ["model=cnn", "model.channels=[16,32]"],
    "gan": ["model=mlp_gan", "trainer.score_samples=0"],
}
WAYS = {
    "the plan alone": ["sweep.dry_run=true"],
    "one job at a time": ["sweep.stack=off", "sweep.jobs=1"],
    "one of one thread": ["sweep.stack=off", "sweep.jobs=1", "trainer.threads=1"],
    "as many as there are cores": ["sweep.stack=off"],
    "stacked": ["sweep.stack=on"],
}
ROUNDS = 5
SECONDS_A_TURN = 0.3


def assembled(overrides: Sequence[str], threads: int, count: int, data: Dataset) -> list[Assembly]:
    """Runs that differ in the seed, ready to train."""
    with initialize_config_dir(str(config_folder()), version_base="1.3"):
        config = compose("train", [*overrides, "trainer.steps=100000", "trainer.epochs=null"])
    config.trainer.threads = threads
    configs = [OmegaConf.merge(config, {"seed": seed}) for seed in range(count)]
    return [assemble(DictConfig(c), dataset=data) for c in configs]


def turn(make: Callable[[], None]) -> float:
    """Seconds a call, over one turn."""
    begun, calls = time.perf_counter(), 0
    while time.perf_counter() - begun < SECONDS_A_TURN:
        make()
        calls += 1
    return (time.perf_counter() - begun) / calls


def steps(work: str, threads: int, count: int, data: Dataset) -> tuple[float, float, float]:
    """Seconds for a step of all members, one after the other and stacked, and the ratio.

    One after the other is one run, so many times: while it trains, it has the caches for itself.
    """
    (one,) = assembled(WORKS[work], threads, 1, data)
    alone, together = step_alone(one), steps_together(assembled(WORKS[work], threads, count, data))
    turns = [(turn(alone) * count, turn(together)) for _ in range(ROUNDS + 1)][1:]
    first, second = zip(*turns, strict=True)
    ratio = statistics.median(a / b for a, b in turns)
    return statistics.median(first), statistics.median(second), ratio


def sweep(members: int, epochs: float, root: Path | None, only: str | None) -> None:
    """Whole sweeps by their command lines."""
    shared = [f"data.root={root.absolute()}"] if root else []
    train = str(Path(sys.executable).with_name("train"))
    command = [train, "-m", f"seed=range({members})", "data=mnist", "model.widths=[64,64]"]
    command += [f"trainer.epochs={epochs}", *shared]
    with tempfile.TemporaryDirectory() as folder:
        for name, way in WAYS.items():
            if only and not name.startswith(only):
                continue
            desk = Path(folder) / name.replace(" ", "-")
            desk.mkdir()
            seconds, peak = timed([*command, *way], desk)
            print(f"{name:28} {seconds:7.1f} s, peak {peak:.0f} MB", flush=True)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("what", choices=("steps", "sweep"))
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--counts", default="1,2,4,8,16,32")
    parser.add_argument("--works", default=",".join(WORKS))
    parser.add_argument("--members", type=int, default=32)
    parser.add_argument("--epochs", type=float, default=1)
    parser.add_argument("--root", type=Path)
    parser.add_argument("--only", help="the way whose name begins so")
    wanted = parser.parse_args()
    register_schema()
    if wanted.what == "sweep":
        sweep(wanted.members, wanted.epochs, wanted.root, wanted.only)
        return
    torch.set_num_threads(wanted.threads)
    data = load_generated(num_images=4000, num_test=500, shape=(1, 28, 28))
    for work in wanted.works.split(","):
        for count in map(int, wanted.counts.split(",")):
            alone, together, ratio = steps(work, wanted.threads, count, data)
            print(
                f"{work:10} {count:3} runs, {wanted.threads} threads: one by one "
                f"{1e3 * alone:8.2f} ms, stacked {1e3 * together:8.2f} ms, ratio {ratio:.2f}",
                flush=True,
            )


if __name__ == "__main__":
    main()

"""What does it bring to train small runs as one program? Steps against their number; whole sweeps.

    python benchmarks/stack.py steps [--cores 2] [--counts 1,2,4,8,16,32] [--works small,...]
    python benchmarks/stack.py plot
    python benchmarks/stack.py sweep [--members 32] [--epochs 1] [--root DATA] [--only stacked]

`steps`: so many runs on images of 28x28 with batches of 64, one after the other and stacked, in
turns, so that a machine whose speed drifts slows both alike. One after the other is one run, so
many times, with all cores or with one thread, whichever is faster (while it trains, it has the
caches for itself). Stacked is what `sweep.stack=on` makes of them: as many stacks as cores, of one
thread each, side by side. Given are the median turns of all runs' steps (their batches included),
and the median of the turns' ratios; they are added to stack.jsonl. Turns during which another
process computes (more than a tenth of a core, on Linux) do not count.

`plot`: stack.png, the time against the number of runs, from the newest lines of stack.jsonl.

`sweep`: whole commands on MNIST, from Enter to the verdict: 784-64-64-10 with so many seeds, one
job at a time (with all cores, and with one thread), as many as there are cores, and stacked (DATA
holds mnist/*.gz; without it the cache is used). The plan's share, which is the same for all, is
taken by itself with sweep.dry_run.
"""

import argparse
import json
import multiprocessing
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import torch
from composed import composed
from generated import load_generated
from measure import HERE, REST, timed
from omegaconf import DictConfig, OmegaConf

from trainwright.data.dataset import Dataset
from trainwright.run.assemble import Assembly, assemble
from trainwright.stack.measure import step_alone, steps_together

WORKS = {
    "small": ["model.widths=[64,64]"],
    "small_fp32": ["model.widths=[64,64]", "trainer.precision=fp32"],
    "small_bf16": ["model.widths=[64,64]", "trainer.precision=bf16"],
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
TURNS = 9
SECONDS_A_TURN = 0.3
MOST_BY_OTHERS = 0.1  # of a core, for a turn that counts
MOST_DISTURBED = 100  # turns
RESULTS = HERE / "stack.jsonl"
TITLES = {
    "small": "MLPs 784-64-64-10, as they come",
    "small_fp32": "MLPs 784-64-64-10, fp32",
    "small_bf16": "MLPs 784-64-64-10, bf16",
    "mlp": "MLPs 784-512-256-10",
    "cnn": "CNNs with 16 and 32 channels",
    "gan": "GANs of dense layers",
}


def assembled(overrides: Sequence[str], threads: int, count: int, data: Dataset) -> list[Assembly]:
    """Runs that differ in the seed, ready to train."""
    config = composed(*overrides, "trainer.steps=100000", f"trainer.threads={threads}")
    configs = [OmegaConf.merge(config, {"seed": seed}) for seed in range(count)]
    return [assemble(DictConfig(c), dataset=data) for c in configs]


class Worker:
    """A process that makes steps when it is told to."""

    def __init__(self, work: str) -> None:
        context = multiprocessing.get_context("spawn")
        self._pipe, theirs = context.Pipe()
        context.Process(target=_serve, args=(theirs, work), daemon=True).start()

    def begin(self, threads: int, members: int, seconds: float, at: float) -> None:
        """From the moment `at` (of time.time) on make steps for so long."""
        self._pipe.send((threads, members, seconds, at))

    def ended(self) -> tuple[float, float]:
        """Of what has begun: steps a second, each member's counted, and seconds of a core used."""
        found: tuple[float, float] = self._pipe.recv()
        return found


def _serve(pipe: Connection, work: str) -> None:
    data = load_generated(num_images=4000, num_test=500, shape=(1, 28, 28))
    makers = {}
    while True:
        try:
            threads, members, seconds, at = pipe.recv()
        except EOFError:  # nobody is left to tell it anything
            return
        torch.set_num_threads(threads)
        if (threads, members) not in makers:
            runs = assembled(WORKS[work], threads, members, data)
            makers[threads, members] = step_alone(runs[0]) if members == 1 else steps_together(runs)
        make = makers[threads, members]
        time.sleep(max(0.0, at - time.time()))
        num_steps, begun, used = 0, time.perf_counter(), time.process_time()
        while num_steps < 3 or time.perf_counter() - begun < seconds:
            make()
            num_steps += 1
        rate = members * num_steps / (time.perf_counter() - begun)
        pipe.send((rate, time.process_time() - used))


class DisturbedError(Exception):
    """Another process has computed during a turn."""


def turn(workers: Sequence[Worker], threads: int, count: int, seconds: float) -> float:
    """Seconds for a step of each of `count` runs, which the workers share, or DisturbedError."""
    begun = time.time()
    at = begun + REST
    shares = [len(range(number, count, len(workers))) for number in range(len(workers))]
    busy = [(worker, share) for worker, share in zip(workers, shares, strict=True) if share]
    before = used_by_all()
    for worker, share in busy:
        worker.begin(threads, share, seconds, at)
    rates, used = zip(*(worker.ended() for worker, _ in busy), strict=True)
    by_others = used_by_all() - before - sum(used)
    if seconds > 0 and by_others > MOST_BY_OTHERS * (time.time() - begun):
        raise DisturbedError
    return count / sum(rates)


def used_by_all() -> float:
    """Seconds of cores that all processes have used since the machine's start; 0 if not Linux."""
    path = Path("/proc/stat")
    if not path.exists():
        return 0.0
    user, nice, system = (int(word) for word in path.read_text().split()[1:4])
    return (user + nice + system) / os.sysconf("SC_CLK_TCK")


def steps(workers: Sequence[Worker], count: int) -> dict[str, float]:
    """Milliseconds for a step of each of `count` runs, both ways, and the ratio."""
    threads = sorted({1, len(workers)})

    def round_(seconds: float) -> list[float]:
        """Seconds alone, with each number of threads, and stacked."""
        alone = [turn(workers[:1], number, 1, seconds) * count for number in threads]
        return [*alone, turn(workers, 1, count, seconds)]

    round_(0.0)  # begins everything
    turns: list[list[float]] = []
    num_disturbed = 0
    while len(turns) < TURNS:
        try:
            turns.append(round_(SECONDS_A_TURN))
        except DisturbedError:
            num_disturbed += 1
            if num_disturbed > MOST_DISTURBED:
                raise SystemExit(
                    "other processes compute: too few turns are without them"
                ) from None
    *alone_each, stacked_each = map(list, zip(*turns, strict=True))
    faster = min(alone_each, key=statistics.median)
    ratios = sorted(a / b for a, b in zip(faster, stacked_each, strict=True))
    return {
        "alone_ms": round(1e3 * statistics.median(faster), 3),
        "stacked_ms": round(1e3 * statistics.median(stacked_each), 3),
        "ratio": round(statistics.median(ratios), 2),
        "ratio_low": round(ratios[len(ratios) // 4], 2),
        "ratio_high": round(ratios[-1 - len(ratios) // 4], 2),
    }


def measure_steps(works: Sequence[str], counts: Sequence[int], cores: int) -> None:
    """Measure, print, and add to the results."""
    for work in works:
        workers = [Worker(work) for _ in range(cores)]
        for count in counts:
            found = steps(workers, count)
            print(
                f"{work:10} {count:3} runs, {cores} cores: one after the other "
                f"{found['alone_ms']:8.2f} ms, stacked {found['stacked_ms']:8.2f} ms, ratio "
                f"{found['ratio']:.2f} ({found['ratio_low']:.2f} to {found['ratio_high']:.2f})",
                flush=True,
            )
            with RESULTS.open("a") as file:
                row = {"work": work, "count": count, "cores": cores, **found}
                file.write(json.dumps(row) + "\n")


def plot(results: Path, picture: Path) -> None:
    """Draw the newest figures of each work, against the number of runs."""
    import matplotlib

    matplotlib.use("agg")
    import matplotlib.pyplot as plt

    newest: dict[str, dict[int, dict[str, Any]]] = {}
    for line in results.read_text().splitlines():
        row = json.loads(line)
        newest.setdefault(row["work"], {})[row["count"]] = row
    shown = [work for work in TITLES if len(newest.get(work, ())) > 1]
    figure, axes = plt.subplots(
        1, len(shown), figsize=(4.6 * len(shown), 4), layout="constrained", squeeze=False
    )
    for axis, work in zip(axes[0], shown, strict=True):
        counts = sorted(newest[work])
        rows = [newest[work][count] for count in counts]
        alone, stacked = ([row[key] for row in rows] for key in ("alone_ms", "stacked_ms"))
        axis.plot(counts, alone, "o-", color="tab:gray", label="one after the other")
        axis.plot(counts, stacked, "o-", color="tab:blue", label="stacked")
        for count, time_, row in zip(counts, stacked, rows, strict=True):
            axis.annotate(
                f"{row['ratio']:.1f}x", (count, time_), xytext=(0, -14), ha="center",
                textcoords="offset points", color="tab:blue", fontsize="small",
            )  # fmt: skip
        axis.set_xscale("log", base=2)
        axis.set_yscale("log")
        axis.set_xticks(counts, [str(count) for count in counts])
        axis.yaxis.set_major_formatter("{x:g}")
        axis.set_ylim(bottom=0.6 * min(alone + stacked))
        axis.set_title(f"{TITLES[work]}, {rows[0]['cores']} cores")
        axis.set_xlabel("runs")
        axis.set_ylabel("ms for a step of each")
        axis.grid(visible=True, which="major", alpha=0.3)
        axis.spines[["top", "right"]].set_visible(False)
    axes[0, 0].legend()
    figure.savefig(picture, dpi=110)
    plt.close(figure)


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
    parser.add_argument("what", choices=("steps", "plot", "sweep"))
    parser.add_argument("--cores", type=int, default=2)
    parser.add_argument("--counts", default="1,2,4,8,16,32")
    parser.add_argument("--works", default="small_fp32,small_bf16")
    parser.add_argument("--members", type=int, default=32)
    parser.add_argument("--epochs", type=float, default=1)
    parser.add_argument("--root", type=Path)
    parser.add_argument("--only", help="the way whose name begins so")
    wanted = parser.parse_args()
    if wanted.what == "sweep":
        sweep(wanted.members, wanted.epochs, wanted.root, wanted.only)
    elif wanted.what == "plot":
        plot(RESULTS, RESULTS.with_suffix(".png"))
    else:
        counts = [int(count) for count in wanted.counts.split(",")]
        measure_steps(wanted.works.split(","), counts, wanted.cores)


if __name__ == "__main__":
    main()

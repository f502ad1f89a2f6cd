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
import statistics
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from measure import HERE, timed
from stack_workers import DisturbedError, Worker, turn

WAYS = {
    "the plan alone": ["sweep.dry_run=true"],
    "one job at a time": ["sweep.stack=off", "sweep.jobs=1"],
    "one of one thread": ["sweep.stack=off", "sweep.jobs=1", "trainer.threads=1"],
    "as many as there are cores": ["sweep.stack=off"],
    "stacked": ["sweep.stack=on"],
}
TURNS = 9
SECONDS_A_TURN = 0.3
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

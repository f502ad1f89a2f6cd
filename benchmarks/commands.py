"""Seconds from Enter to exit of what is typed often: `python benchmarks/commands.py`.

With --fast also of `train experiment=mnist_fast`, and the test accuracy, over five seeds.
"""

import argparse
import json
import statistics
import sys
import tempfile
from pathlib import Path

from measure import timed

NUM_ROUNDS = 5
COMMANDS = {
    "train --help": ["--help"],
    "train --cfg job": ["--cfg", "job"],
    "tab completion": ["--complete", "bash", "train optimizer."],
}


def main() -> None:
    """Time every command several times, and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--fast", action="store_true", help="also train experiment=mnist_fast")
    parser.add_argument("--root", help="folder with mnist/*.gz, as data.root of train")
    args = parser.parse_args()
    train = str(Path(sys.executable).with_name("train"))
    with tempfile.TemporaryDirectory() as folder:
        desk = Path(folder)
        for name, words in COMMANDS.items():
            seconds = [timed([train, *words], desk)[0] for _ in range(NUM_ROUNDS)]
            print(f"{name:20} {statistics.median(seconds):6.2f} s, {_range(seconds)}")
        if not args.fast:
            return
        runs = []
        for seed in range(5):
            words = ["experiment=mnist_fast", f"seed={seed}", f"run.dir=seed{seed}"]
            words += [f"data.root={args.root}"] if args.root else []
            seconds, _ = timed([train, *words], desk)
            summary = json.loads((desk / f"seed{seed}" / "summary.json").read_text())
            runs.append((seconds, summary["test"]["accuracy"]))
            print(f"mnist_fast, seed {seed}: {seconds:.1f} s, {runs[-1][1]:.2%}", flush=True)
        times, scores = zip(*runs, strict=True)
        mean, median = statistics.mean(scores), statistics.median(times)
        print(f"mnist_fast: mean {mean:.2%} of the test images, median {median:.1f} s")


def _range(values: list[float]) -> str:
    return f"{min(values):.2f} to {max(values):.2f}"


if __name__ == "__main__":
    main()

"""How fast is training beside other programs, with torch's threads and with those that are chosen?

    python benchmarks/busy.py --loops 2 --mnist FOLDER     # beside two busy loops
    python benchmarks/busy.py --loops 0 --mnist FOLDER     # alone: what is chosen must cost nothing

Runs of `train` take turns: with as many threads as torch takes, which is what every run did before,
and with the default, which counts the cores that are free. Given is the median of the images per
second of each, and the median of the ratios of neighbouring turns. Without --mnist the images are
the digits that come along.
"""

import argparse
import contextlib
import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import torch

TRAIN = Path(sys.executable).with_name("train")
LOOP = "while True: pass"
# More steps make the slow side take minutes and change nothing.
SHORT = ("trainer.evaluate_every=0", "trainer.score_samples=0", "trainer.plots=false")


@contextlib.contextmanager
def busy_loops(count: int) -> Iterator[None]:
    """So many programs that want a core each, while this context is open."""
    loops = [subprocess.Popen([sys.executable, "-c", LOOP]) for _ in range(count)]
    try:
        yield
    finally:
        for loop in loops:
            loop.kill()
            loop.wait()


def images_a_second(*overrides: str) -> float:
    """Of one run, by its own account."""
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("OMP_", "MKL_"))}
    with tempfile.TemporaryDirectory() as folder:
        command = [TRAIN, *SHORT, *overrides, f"run.dir={folder}/run"]
        subprocess.run(command, env=environment, check=True, stdout=subprocess.DEVNULL)
        summary = json.loads(Path(folder, "run", "summary.json").read_text())
    return float(summary["examples_per_second"])


def main() -> None:
    """Take turns, and print what came of them."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--loops", type=int, default=2, help="busy loops beside it")
    parser.add_argument("--mnist", help="the folder that holds MNIST's four files in `mnist`")
    parser.add_argument("--turns", type=int, default=5)
    parser.add_argument("--steps", type=int, default=40)
    asked = parser.parse_args()
    data = ["data=mnist", f"data.root={asked.mnist}"] if asked.mnist else ["data=digits"]
    data += ["data.limit=4000"] if asked.mnist else []
    with busy_loops(asked.loops):
        for model in ("cnn", "gan"):
            run = [f"model={model}", *data, f"trainer.steps={asked.steps}"]
            usual, chosen = [], []
            for _ in range(asked.turns):
                usual.append(images_a_second(*run, f"trainer.threads={torch.get_num_threads()}"))
                chosen.append(images_a_second(*run))
            ratio = statistics.median(c / u for c, u in zip(chosen, usual, strict=True))
            load = f"{os.getloadavg()[0]:.1f}" if hasattr(os, "getloadavg") else "?"
            print(
                f"{model}, load {load}: {statistics.median(usual):,.0f} images/s with "
                f"{torch.get_num_threads()} threads, {statistics.median(chosen):,.0f} with those "
                f"chosen: {ratio:.2f} times as fast",
                flush=True,
            )


if __name__ == "__main__":
    main()

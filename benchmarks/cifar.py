"""experiment=cifar10_fast beside the recipe of the speed record, as a loop written by hand.

    python benchmarks/cifar.py steps [--rounds 4] [data=folder data.path=IMAGES ...]
    python benchmarks/cifar.py train [--seeds 1] [--only ours|airbench] [data=... ...]

What follows the options is typed to `train experiment=cifar10_fast`, and both sides get the pixels
that it describes: the training split to learn, the test split to be measured on. The other side
(benchmarks/peers/airbench.py) takes batch size, epochs and widths from it too.

`steps`: training steps in turns, in one process. The other side augments a pass at once: a step's
share of that is counted. `train`: whole trainings, ours as the command that a user types. Given are
the seconds from the first step to the last, those of the whole process (for the other side: from
data in memory to the accuracy) and the test accuracy, over six views of each image on both sides.
"""

import argparse
import json
import statistics
import sys
import tempfile
import time
from pathlib import Path

import torch
from composed import composed
from measure import timed
from omegaconf import DictConfig
from peers.airbench import Airbench

from trainwright.config.plan import Plan
from trainwright.data.dataset import Dataset
from trainwright.engine.step import train_step
from trainwright.run.assemble.assemble import assemble

EXPERIMENT = "experiment=cifar10_fast"


def other_side(config: DictConfig, dataset: Dataset, *, seed: int, compiled: bool) -> Airbench:
    """The loop by hand, on the same pixels, as long and as wide."""
    first, second, third = config.model.widths
    assert dataset.train.columns["targets"] is not None
    return Airbench(
        dataset.train.columns["inputs"],
        dataset.train.columns["targets"],
        epochs=config.trainer.epochs,
        batch_size=config.trainer.batch_size,
        widths=(first, second, third),
        seed=seed,
        compiled=compiled,
    )


def synchronise() -> float:
    """The time, once everything that was asked for is done."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter()


def steps(typed: list[str], num_rounds: int, *, compiled: bool) -> None:
    """Ours and theirs in turns, a step each."""
    config = composed(EXPERIMENT, *typed)
    assembly = assemble(Plan.of(config))
    state = assembly.state
    theirs = other_side(config, assembly.dataset, seed=0, compiled=compiled)
    begun = synchronise()
    theirs.next_batch()
    share = (synchronise() - begun) / theirs.steps_an_epoch
    rounds = []
    for number in range(num_rounds + 1):
        begun = synchronise()
        train_step(state, assembly.train.at(state.step), assembly.settings)
        state.step += 1
        between = synchronise()
        theirs.step()
        ended = synchronise()
        if number:  # the first warms up
            rounds.append((between - begun, ended - between + share))
            print("ours {:.3f} s, by hand {:.3f} s".format(*rounds[-1]), flush=True)
    ratios = [ours / hand for ours, hand in rounds]
    ours, hand = (statistics.median(side) for side in zip(*rounds, strict=True))
    print(
        f"batch {config.trainer.batch_size}: ours {ours:.3f} s a step, by hand {hand:.3f} s "
        f"(of which {share:.3f} s augment), ratio {statistics.median(ratios):.3f} "
        f"({min(ratios):.3f} to {max(ratios):.3f})"
    )


def train_ours(typed: list[str], seed: int) -> None:
    """The command, and what it says of itself."""
    train = str(Path(sys.executable).with_name("train"))
    with tempfile.TemporaryDirectory() as folder:
        words = [EXPERIMENT, *typed, f"seed={seed}", "run.dir=run"]
        seconds, _ = timed([train, *words], Path(folder))
        summary = json.loads((Path(folder) / "run" / "summary.json").read_text())
    show("ours", seed, summary["seconds"], seconds, summary["test"]["accuracy"])


def train_theirs(typed: list[str], seed: int, *, compiled: bool) -> None:
    """The loop by hand, to its end."""
    config = composed(EXPERIMENT, *typed)
    dataset = Plan.of(config).data.build(Dataset, {})
    begun = synchronise()
    airbench = other_side(config, dataset, seed=seed, compiled=compiled)
    first = synchronise()
    for _ in range(airbench.total):
        airbench.step()
    trained = synchronise()
    accuracy = airbench.accuracy(dataset.test.columns["inputs"], dataset.test.columns["targets"])
    show("by hand", seed, trained - first, synchronise() - begun, accuracy)


def show(side: str, seed: int, training: float, whole: float, accuracy: float) -> None:
    """One training, on a line."""
    times = f"{training:.1f} s of training, {whole:.1f} s in all"
    print(f"{side}, seed {seed}: {accuracy:.2%} of the test images, {times}", flush=True)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description="cifar10_fast beside a loop by hand.")
    parser.add_argument("what", choices=("steps", "train"))
    parser.add_argument("--rounds", type=int, default=4)
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--only", choices=("ours", "airbench"))
    parser.add_argument("--compile", action="store_true", help="torch.compile the loop by hand")
    args, typed = parser.parse_known_args()
    if args.what == "steps":
        steps(typed, args.rounds, compiled=args.compile)
        return
    for seed in range(args.seeds):
        if args.only != "airbench":
            train_ours(typed, seed)
        if args.only != "ours":
            train_theirs(typed, seed, compiled=args.compile)


if __name__ == "__main__":
    main()

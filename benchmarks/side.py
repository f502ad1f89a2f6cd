"""One side, in a process of its own: `python side.py SIDE WORK SETTING` trains and prints a score.

The other arguments are for bench.py, which starts it.
"""

import argparse
import importlib
import json
import sys
from dataclasses import replace
from pathlib import Path

import torch
from gate import Gate, OpenGate, TurnGate
from images import Images, load
from job import Generate, Job, Predict
from works import WORKS

FOREVER = 10_000  # epochs, when only turns are measured


def main() -> None:
    """Train, and print the score as JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("side")
    parser.add_argument("work", choices=WORKS)
    parser.add_argument("setting", choices=("fp32", "default"))
    parser.add_argument("--mnist", type=Path, help="folder with MNIST's files; none: drawn images")
    parser.add_argument("--images", type=int, help="train on so many images only")
    parser.add_argument("--turns", type=int, nargs=2, metavar="FD", help="take turns (gate.py)")
    args = parser.parse_args()

    work = WORKS[args.work]
    if args.images is not None:
        work = replace(work, num_images=args.images)
    gate: Gate = OpenGate() if args.turns is None else TurnGate(work.turn, *args.turns)
    if args.side == "ours":  # reads its data itself
        from peers.ours import take_turns

        take_turns(work, args.setting, args.mnist, gate)
        return
    torch.manual_seed(0)
    peer = importlib.import_module(f"peers.{args.side}")
    images = load(work, args.mnist)
    job = Job(
        work=work,
        images=images,
        epochs=work.epochs if args.turns is None else FOREVER,
        fast=args.setting == "fp32",
        gate=gate,
    )
    if work.network == "gan":
        score = {"sliced_wasserstein": _distance(peer.play(job), images)}
    else:
        score = {"accuracy": _accuracy(peer.classify(job), images)}
    json.dump(score, sys.stdout)
    print()


def _accuracy(predict: Predict, images: Images) -> float:
    """Share of the test images that get the right class."""
    correct = 0
    pairs = zip(images.test.split(1000), images.test_classes.split(1000), strict=True)
    for inputs, classes in pairs:
        correct += int((predict(inputs).argmax(1) == classes).sum())
    return correct / len(images.test)


def _distance(generate: Generate, images: Images) -> float:
    """Sliced Wasserstein distance of 2000 samples to as many test images: smaller is better."""
    from trainwright.seeds import generator_for
    from trainwright.tasks.metrics.formulas import sliced_wasserstein

    return sliced_wasserstein(
        generate(2000), images.test[:2000], generator=generator_for("sliced_wasserstein")
    )


if __name__ == "__main__":
    main()

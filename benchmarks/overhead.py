"""What the trainer costs over a bare loop: MLP 784-512-256-10 on MNIST, batch 64, Adam, 2 threads.

    python benchmarks/overhead.py [--root DATA] [--rounds 5] [--epochs 2]

DATA is a folder with mnist/*.gz; without it the cache is used, and MNIST downloaded to it.

Both sides train the same network on the same data in memory in fp32, each in a process of its own,
in turns, for several rounds. The trainer runs with all its hooks at their defaults (evaluations,
logs, checkpoints, progress), and their time counts. The bare loop is measured as most people write
it, with torch.optim.Adam as it comes, and with fused=True, which is what the trainer uses. Prints
examples a second and the trainer's ratio to either.
"""

import argparse
import json
import logging
import statistics
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

import torch
from hydra import compose, initialize_config_dir
from torch import nn
from torch.nn import functional

from trainwright.compose import register_schema
from trainwright.config_folder import config_folder
from trainwright.data.idx import load_idx
from trainwright.run import Request, run

BATCH_SIZE = 64


def bare_loop(root: str | None, num_epochs: int, fused: bool) -> float:
    """Train by hand over float tensors in memory; return examples a second."""
    torch.set_num_threads(2)
    train = load_idx(name="mnist", root=root).train
    images, classes = train.inputs.flatten(1).float().div(255), train.targets  # (N, 784), (N,)
    assert classes is not None
    num_steps = num_epochs * len(images) // BATCH_SIZE
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Linear(784, 512), nn.ReLU(), nn.Linear(512, 256), nn.ReLU(), nn.Linear(256, 10)
    )
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3, fused=fused)
    begun = time.perf_counter()
    order, position = torch.randperm(len(images)), 0
    for _ in range(num_steps):
        if position + BATCH_SIZE > len(images):
            order, position = torch.randperm(len(images)), 0
        index = order[position : position + BATCH_SIZE]
        position += BATCH_SIZE
        loss = functional.cross_entropy(model(images[index]), classes[index])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return num_steps * BATCH_SIZE / (time.perf_counter() - begun)


def trainer(root: str | None, num_epochs: int) -> float:
    """Train by the shared trainer, hooks on; return examples a second of the whole loop."""
    torch.set_num_threads(2)
    logging.getLogger("trainwright").setLevel(logging.WARNING)
    register_schema()
    overrides = [
        "model=mlp",
        "data=mnist",
        "trainer.precision=fp32",
        f"trainer.batch_size={BATCH_SIZE}",
        f"trainer.epochs={num_epochs}",
        f"data.root={root or 'null'}",
    ]
    with initialize_config_dir(str(config_folder()), version_base="1.3"):
        config = compose("train", overrides=overrides)
    with tempfile.TemporaryDirectory() as folder:
        config.run.dir = f"{folder}/run"
        outcome = run(Request(config=config, overrides=[], name="overhead"))
        summary = json.loads((outcome.folder / "summary.json").read_text())
    return float(summary["examples_per_second"])


def alone(measure: Callable[..., float], *args: object) -> float:
    """Measure in a fresh process, so that neither side profits from what the other has set."""
    with ProcessPoolExecutor(max_workers=1, mp_context=get_context("spawn")) as process:
        return process.submit(measure, *args).result()


def main() -> None:
    """Measure in turns and print."""
    parser = argparse.ArgumentParser(description="The trainer against a bare loop.")
    parser.add_argument("--root", help="folder with mnist/*.gz")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--epochs", type=int, default=2)
    args = parser.parse_args()
    ratios: dict[str, list[float]] = {"plain Adam": [], "fused Adam": []}
    for number in range(1, args.rounds + 1):
        ours = alone(trainer, args.root, args.epochs)
        shown = [f"round {number}: trainer {ours:,.0f}/s"]
        for name, fused in (("plain Adam", False), ("fused Adam", True)):
            bare = alone(bare_loop, args.root, args.epochs, fused)
            ratios[name].append(ours / bare)
            shown.append(f"bare with {name} {bare:,.0f}/s")
        print("  ".join(shown), flush=True)
    for name, values in ratios.items():
        spread = f"{min(values):.3f} to {max(values):.3f}"
        print(f"trainer / bare with {name}: median {statistics.median(values):.3f} ({spread})")


if __name__ == "__main__":
    main()

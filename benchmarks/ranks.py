"""What do several ranks cost and bring? One process, our ranks, and DDP written by hand, in turns.

    python benchmarks/ranks.py [--ranks 2] [--turns 15] [--steps 20]

A CNN (fp32, batch 256) on drawn images of 28x28. The sides are one process with as many threads
as there are ranks, our ranks with one thread each, DDP by hand with as many and torch's fused Adam,
and one process with one thread. They stay alive and train in turns, so that a machine whose speed
drifts slows all alike; a ratio is the median over the turns of what two sides took one after the
other.
Given are seconds on the clock, and of all processors together.

Bytes are those that the loopback device has sent: run this where nobody else uses it, such as in
`unshare --net`, whose device it switches on by itself.
"""

import argparse
import contextlib
import fcntl
import json
import os
import socket
import statistics
import struct
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import torch
import torch.distributed as dist
from composed import composed
from generated import draw
from torch.nn import functional
from torch.nn.parallel import DistributedDataParallel

from trainwright.config.plan import Plan
from trainwright.engine.ranks.group import Meeting, Ranks
from trainwright.engine.ranks.world import ALONE
from trainwright.engine.step import train_step
from trainwright.nn.cnn import CNN
from trainwright.run.assemble.assemble import assemble

BATCH, SHAPE, NUM_IMAGES = 256, (1, 28, 28), 20_000
OURS = (
    "data=generated",
    f"data.shape={list(SHAPE)}",
    f"data.num_images={NUM_IMAGES}",
    "model=cnn",
    "trainer.precision=fp32",
    f"trainer.batch_size={BATCH}",
    "trainer.steps=1000000",
)
Step = Callable[[], None]


def ours(rank: int, size: int, port: int) -> Step:
    """A step of the engine, as one of so many ranks."""
    world = ALONE if size == 1 else Ranks(Meeting(rank, size, rank, "127.0.0.1", port))
    run = assemble(Plan.of(composed(*OURS)), world=world)

    def step() -> None:
        train_step(run.state, run.train.at(run.state.step), run.settings)
        run.state.step += 1

    return step


def by_hand(rank: int, size: int, port: int) -> Step:
    """A step of a loop with DDP, over tensors in memory."""
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    os.environ["GLOO_SOCKET_IFNAME"] = "lo"
    dist.init_process_group("gloo", rank=rank, world_size=size)
    images, classes = draw(NUM_IMAGES, SHAPE, seed=0)
    images = (images.float() - 80) / 60
    torch.manual_seed(0)
    model = DistributedDataParallel(CNN(input_shape=SHAPE, num_outputs=10))
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3, fused=True)
    order = torch.randperm(NUM_IMAGES)
    at = 0

    def step() -> None:
        nonlocal at
        index = order[at : at + BATCH][rank::size]
        at = (at + BATCH) % (NUM_IMAGES - BATCH)
        loss = functional.cross_entropy(model(images[index]), classes[index])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

    return step


def work(side: str, rank: int, size: int, port: int) -> None:
    """Make as many steps as each line of standard input says, and tell the CPU seconds."""
    step = (by_hand if side == "by hand" else ours)(rank, size, port)
    for line in sys.stdin:
        begun = time.process_time()
        for _ in range(int(line)):
            step()
        print(json.dumps(time.process_time() - begun), flush=True)
    os._exit(0)


class Side:
    """The processes of a side."""

    def __init__(self, name: str, size: int, threads: int) -> None:
        with socket.create_server(("127.0.0.1", 0)) as free:
            port = free.getsockname()[1]
        self.processes = [
            subprocess.Popen(  # of this file
                [sys.executable, __file__, "--side", name, str(rank), str(size), str(port)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
                env={**os.environ, "OMP_NUM_THREADS": str(threads)},
            )
            for rank in range(size)
        ]

    def turn(self, steps: int) -> tuple[float, float]:
        """Seconds a step, on the clock and of all processors."""
        begun = time.perf_counter()
        for process in self.processes:
            assert process.stdin is not None
            process.stdin.write(f"{steps}\n")
            process.stdin.flush()
        cpu = 0.0
        for process in self.processes:
            assert process.stdout is not None
            cpu += float(process.stdout.readline())
        return (time.perf_counter() - begun) / steps, cpu / steps

    def end(self) -> None:
        """Let them go."""
        for process in self.processes:
            process.kill()
            process.wait()


def switch_on_loopback() -> None:
    """In a network of one's own it is off."""
    with contextlib.suppress(OSError), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as some:
        fcntl.ioctl(some, 0x8914, struct.pack("16sh", b"lo", 0x1 | 0x40))  # SIOCSIFFLAGS: up


def bytes_sent() -> int:
    """By the loopback device until now."""
    rows = [line.split(":") for line in Path("/proc/net/dev").read_text().splitlines()]
    return next(int(row[1].split()[8]) for row in rows if row[0].strip() == "lo")


def main() -> None:
    """Start the sides, let them take turns, print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--ranks", type=int, default=2)
    parser.add_argument("--turns", type=int, default=15)
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--side", nargs=4, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.side:
        name, *numbers = args.side
        work(name, *map(int, numbers))
        return
    size = args.ranks
    switch_on_loopback()
    sides = {
        f"one process, {size} threads": Side("ours", 1, size),
        f"{size} ranks, 1 thread each": Side("ours", size, 1),
        f"DDP by hand, {size} processes": Side("by hand", size, 1),
        "one process, 1 thread": Side("ours", 1, 1),
    }
    seconds: dict[str, list[tuple[float, float]]] = {name: [] for name in sides}
    sent: dict[str, int] = dict.fromkeys(sides, 0)
    for turn in range(-2, args.turns):  # the first two are to warm up
        for name, side in sides.items():
            before = bytes_sent()
            found = side.turn(args.steps)
            if turn >= 0:
                seconds[name].append(found)
                sent[name] += bytes_sent() - before
    for side in sides.values():
        side.end()
    ranks = seconds[f"{size} ranks, 1 thread each"]
    weights = sum(p.numel() for p in CNN(input_shape=SHAPE, num_outputs=10).parameters())
    least = 4 * weights * 2 * (size - 1)  # of all ranks together
    print("| side | ms a step | at best | CPU ms | speed of the ranks by its | bytes / least |")
    print("|---|---|---|---|---|---|")
    for name, found in seconds.items():
        wall, cpu = (1000 * statistics.median(one[i] for one in found) for i in (0, 1))
        best = 1000 * min(one[0] for one in found)
        ratio = statistics.median(a[0] / b[0] for a, b in zip(found, ranks, strict=True))
        share = sent[name] / (args.turns * args.steps) / least
        print(f"| {name} | {wall:.1f} | {best:.1f} | {cpu:.1f} | {ratio:.2f} | {share:.3f} |")


if __name__ == "__main__":
    main()

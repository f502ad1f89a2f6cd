"""What a step takes on 8, 64 and 512 GPUs, by arithmetic: nothing here is measured.

    python benchmarks/many_gpus.py [--ports 8]

Each GPU keeps its share of the batch, whatever their number (weak scaling); efficiency is the time
of a step on one GPU by that on many. What it rests on is printed with the table, and stands in the
constants below: change them to those of another machine.

A step computes forward (1/3) and backward (2/3). DDP adds up gradients as they come, in as many
rings as a machine has ports, each of which leaves it by one: so what is sent between machines has
the bandwidth of all ports together, and the slowest link decides. What does not fit under the
backward pass, and the last bucket, is waited for. FSDP2 gathers the weights of each layer before
its forward and its backward pass and scatters gradients after it; what does not fit under either
pass, and the first layer, is waited for. Batch normalisation over all GPUs waits twice a layer, in
each pass once. Stragglers, and data that are late, are not in it.
"""

import argparse
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import log2

import torch
from composed import composed
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from trainwright.config.plan import Plan
from trainwright.nn.gpt.gpt import GPT

PEAK = 989e12  # FLOP/s of an H100 SXM in bf16, dense, as its data sheet has it
NODE = 8  # GPUs of a machine
WITHIN, PORT = 450e9, 50e9  # bytes/s one way: of a GPU by NVLink 4, and of a 400 Gb/s port
REACHED = 0.8  # of a link's bandwidth by a ring
HOP = 4e-6, 8e-6  # seconds of one more rank within a machine, and of one more level between them
BUCKET = 25e6  # bytes
WEIGHT = 4  # bytes of a weight, also where it is gathered, and of a gradient


@dataclass(frozen=True)
class Work:
    """A step of one GPU: FLOP, the share of the peak that is reached, and what is exchanged."""

    name: str
    flop: float
    share: float
    weights: int
    layers: int  # that are gathered one by one
    norms: int = 0  # layers of batch normalisation

    @property
    def alone(self) -> float:
        """Seconds of a step on one GPU."""
        return self.flop / (self.share * PEAK)


def exchange(size: float, gpus: int, ports: int, rounds: int) -> float:
    """Seconds of rings that take each byte `rounds` times around: 2 to add up, 1 to gather."""
    slowest = WITHIN if gpus <= NODE else min(WITHIN, ports * PORT)
    return rounds * size * (gpus - 1) / gpus / (REACHED * slowest) + latency(gpus, rounds)


def latency(gpus: int, rounds: int) -> float:
    """Seconds of an exchange of next to nothing: along a tree, within machines and between them."""
    inside, outside = log2(min(gpus, NODE)), log2(max(1, gpus // NODE))
    return rounds * (inside * HOP[0] + outside * HOP[1])


def ddp(work: Work, gpus: int, ports: int) -> float:
    """Seconds of a step."""
    size = work.weights * WEIGHT
    buckets = max(1, round(size / BUCKET))
    sent = buckets * exchange(size / buckets, gpus, ports, 2)
    last = sent / buckets
    behind = max(0.0, sent - last - work.alone * 2 / 3)
    return work.alone + behind + last + _norms(work, gpus)


def fsdp(work: Work, gpus: int, ports: int) -> float:
    """Seconds of a step."""
    layer = work.weights / work.layers
    gather = exchange(layer * WEIGHT, gpus, ports, 1)
    scatter = exchange(layer * WEIGHT, gpus, ports, 1)
    forward = max(0.0, (work.layers - 1) * gather - work.alone / 3)
    backward = max(0.0, (work.layers - 1) * (gather + scatter) - work.alone * 2 / 3)
    return work.alone + forward + backward + gather + scatter + _norms(work, gpus)


def _norms(work: Work, gpus: int) -> float:
    return 2 * work.norms * latency(gpus, 2)


def counted(network: nn.Module, *inputs: Tensor) -> tuple[float, int, int]:
    """FLOP of a training step (three forward passes), weights, and batch normalisations."""
    with FlopCounterMode(display=False) as counter:
        network(*inputs)
    weights = sum(p.numel() for p in network.parameters())
    norms = sum(isinstance(m, nn.BatchNorm2d) for m in network.modules())
    return 3.0 * counter.get_total_flops(), weights, norms


def resnet(batch: int) -> Work:
    """`model=resnet model.width=64 model.blocks_per_stage=2` on images of 3x32x32."""
    facts = {"input_shape": (3, 32, 32), "num_outputs": 10}
    typed = ("data=cifar10", "model=resnet", "model.width=64", "model.blocks_per_stage=2")
    with torch.device("meta"):
        network = Plan.of(composed(*typed)).model.build(nn.Module, facts)
        flop, weights, norms = counted(network, torch.empty(batch, *facts["input_shape"]))
    return Work(f"CNN: resnet, {batch} images of 32²", flop, 0.25, weights, norms, norms)


def gan(batch: int) -> Work:
    """`model=gan model.width=128` on images of 3x32x32; a step of each player."""
    facts = {"input_shape": (3, 32, 32), "num_classes": 0}
    network = Plan.of(composed("data=cifar10", "model=gan", "model.width=128")).model.build(
        nn.Module, {**facts, "num_outputs": 1}
    )
    with torch.device("meta"):
        network = network.to("meta")
        generator, discriminator = network.generator, network.discriminator
        made, num_g, norms_g = counted(generator, torch.empty(batch, network.latent_dim))
        told, num_d, norms_d = counted(discriminator, torch.empty(batch, *facts["input_shape"]))
    # The discriminator judges real and fake, and once more with the generator's turn.
    flop, norms = made + 3 * told, norms_g + norms_d
    return Work(f"GAN: width 128, {batch} images of 32²", flop, 0.2, num_g + num_d, 10, norms)


def gpt(name: str, width: int, depth: int, batch: int, share: float) -> Work:
    """A decoder on windows of 1024 tokens of 50,257."""
    with torch.device("meta"):
        network = GPT(
            vocab_size=50_257, input_shape=(1025,), depth=depth, width=width, heads=width // 64,
            tied=True,
        )  # fmt: skip
    flop = network.flops_per_token() * 1024 * batch
    weights = sum(p.numel() for p in network.parameters())
    return Work(f"GPT {name}, {batch} x 1024 tokens", flop, share, weights, depth)


def main() -> None:
    """Print what is taken for granted, and the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--ports", type=int, default=NODE, help="of a machine")
    ports = parser.parse_args().ports
    works = [resnet(512), gan(128), gpt("124 M", 768, 12, 32, 0.45), gpt("1.5 B", 1600, 48, 8, 0.5)]
    ways: Mapping[str, Callable[[Work, int, int], float]] = {"DDP": ddp, "FSDP2": fsdp}
    print(
        f"H100 SXM, {PEAK / 1e12:.0f} TFLOP/s in bf16; {NODE} in a machine, "
        f"{WITHIN / 1e9:.0f} GB/s between two of them;\n"
        f"{ports} x {PORT / 1e9:.0f} GB/s a machine; rings reach {REACHED:.0%} of a bandwidth;\n"
        f"{HOP[0] * 1e6:.0f} µs a level of a tree in a machine, {HOP[1] * 1e6:.0f} between two\n"
    )
    print("| of each GPU | weights | of the peak | 1 GPU | | 8 | 64 | 512 | state of a GPU at 8 |")
    print("|---|---|---|---|---|---|---|---|---|")
    for work in works:
        for way, seconds in ways.items():
            times = [seconds(work, gpus, ports) for gpus in (8, 64, 512)]
            cells = [f"{1000 * t:.1f} ms, {work.alone / t:.0%}" for t in times]
            size = work.weights * (20 if way == "DDP" else 16 / 8) / 1e9
            print(
                f"| {work.name} | {work.weights / 1e6:.1f} M | {work.share:.0%} | "
                f"{1000 * work.alone:.1f} ms | {way} | {' | '.join(cells)} | {size:.2f} GB |"
            )


if __name__ == "__main__":
    main()

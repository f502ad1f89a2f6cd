"""What a run's bits depend on besides its config: where and with what it computes."""

import platform
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from trainwright import __version__
from trainwright.cores import num_cores
from trainwright.data.dataset import Dataset, fingerprint
from trainwright.engine.device.device import Placement

# What is told of each in one word, in this order.
Environment = dict[str, str]
THREADS_NEXT = "threads_next"  # in the metadata of a save from which on they are others
ALONE = "alone"
# Of checkpoints from before steps could be stacked, or several processes make them.
_BEFORE = {"steps": ALONE, "ranks": "1"}


def environment(placement: Placement, dataset: Dataset) -> Environment:
    """Everything known to change the last bits, by name, as text for a checkpoint."""
    device = placement.device
    on_gpu = device.type == "cuda"
    return {
        "trainwright": __version__,
        "torch": torch.__version__,
        "device": device.type,
        "processor": torch.cuda.get_device_name(device) if on_gpu else _processor(),
        "precision": placement.precision,
        "memory_format": str(placement.memory_format).removeprefix("torch."),
        "threads": str(placement.threads),
        "steps": _steps(placement),
        "ranks": str(placement.ranks),
        "data": fingerprint(dataset),
    }


def differences(then: Mapping[str, object], now: Environment) -> list[str]:
    """What has changed, such as `threads 1 -> 2`; nothing if the same bits are to be expected."""
    return [
        f"{name.replace('_', ' ')} {before} -> {value}"
        for name, value in now.items()
        if (before := then.get(name, _BEFORE.get(name, "unknown"))) != value
    ]


def threads_of(metadata: Mapping[str, Any]) -> int | None:
    """With how many threads the run of a checkpoint goes on; None: that is to be chosen here."""
    then = metadata.get("environment")
    known = then.get("threads") if isinstance(then, dict) else None
    threads = str(metadata.get(THREADS_NEXT, known))
    is_number = threads.isdecimal() and threads.isascii() and len(threads) < 5
    return int(threads) if is_number and 0 < int(threads) <= num_cores() else None


def may_vary(placement: Placement) -> str:
    """Why two runs in the same place may differ all the same; nothing if they do not."""
    if placement.device.type == "cpu" or torch.are_deterministic_algorithms_enabled():
        return ""
    return f"{placement.device.type} without trainer.deterministic=true"


def _steps(placement: Placement) -> str:
    """How steps are made: stacked ones round otherwise, and so does what is compiled.

    On the device learning rates have the bits of a float32.
    """
    if placement.stacked:
        return "stacked"
    where = "on the device" if placement.static else ALONE
    return f"{where}, compiled" if placement.compiled else where


def _processor() -> str:
    """The model and what torch uses of it: libraries choose their kernels by both."""
    capability = torch.backends.cpu.get_cpu_capability()
    model = platform.processor() or platform.machine()
    listing = Path("/proc/cpuinfo")
    if listing.exists():
        for line in listing.read_text().splitlines():
            if line.startswith("model name"):
                model = line.partition(":")[2].strip()
                break
    return f"{model} ({capability})"

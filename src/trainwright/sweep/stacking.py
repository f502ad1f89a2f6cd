"""Which jobs of a sweep may be trained as one program: those that differ in numbers alone.

They have the same network, data, task, length and batch size, and each its own seed, optimizer,
schedule and everything that looks at a run without changing how a step is computed.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from trainwright.sweep.job import Job

# Sections and keys in which the members of a stack may differ.
OWN = (
    "seed",
    "run",
    "sweep",
    "trust",
    "optimizer",
    "schedule",
    "trainer.clip_norm",
    "trainer.ema",
    "trainer.schedule_from",
    "trainer.schedule_until",
    "trainer.log_every",
    "trainer.evaluate_every",
    "trainer.sample_every",
    "trainer.save_every",
    "trainer.early_stopping",
    "trainer.on_nonfinite",
    "trainer.max_skips",
    "trainer.rollback",
    "trainer.on_ill",
)
MODELS = (
    "trainwright.nn.mlp.MLP",
    "trainwright.nn.cnn.CNN",
    "trainwright.nn.resnet.ResNet",
    "trainwright.nn.mlp_gan.mlp_gan",
    "trainwright.nn.conv_gan.conv_gan",
)
MIN_GAIN = 1.1  # times as fast; below, stacking is not worth the company


@dataclass(frozen=True)
class StackPlan:
    """Which jobs go together, by their identities, and why others do not."""

    stacks: Sequence[tuple[str, ...]]
    reasons: Mapping[str, int]  # why not, and for how many jobs


def alike(jobs: Iterable[Job]) -> tuple[list[list[Job]], dict[str, int]]:
    """The jobs that could be stacked with another; and why others cannot, with their number."""
    groups: dict[str, list[Job]] = {}
    reasons: dict[str, int] = {}
    for job in jobs:
        reason = against(job.config)
        if reason is None:
            groups.setdefault(stack_key(job.config), []).append(job)
        else:
            reasons[reason] = reasons.get(reason, 0) + 1
    lonely = sum(len(group) == 1 for group in groups.values())
    if lonely:
        reasons["no other job has the same network, data, task and length"] = lonely
    return [group for group in groups.values() if len(group) > 1], reasons


def against(config: Mapping[str, Any]) -> str | None:
    """Why a job of this config is trained alone, if it is."""
    task, trainer, model = config["task"], config["trainer"], config["model"]
    if model.get("_target_") not in MODELS:
        return f"nobody knows whether {model.get('_target_')} can be stacked"
    if not str(task.get("_target_")).startswith("trainwright.tasks."):
        return f"nobody knows whether {task.get('_target_')} can be stacked"
    refused = {
        "a fork trains alone": config.get("fork") is not None,
        "trainer.accumulate computes a batch in parts": trainer["accumulate"] > 1,
        "trainer.precision=fp16 scales each loss": trainer["precision"] == "fp16",
        "trainer.deterministic": bool(trainer["deterministic"]),
        "model.spectral_norm": bool(model.get("spectral_norm")),
        "task.loss=wasserstein_gp has a gradient in its loss": task.get("loss") == "wasserstein_gp",
        "task.r1 has a gradient in its loss": bool(task.get("r1")),
        "task.instance_noise": bool(task.get("instance_noise")),
    }
    return next((reason for reason, is_so in refused.items() if is_so), None)


def stack_key(config: Mapping[str, Any]) -> str:
    """Text that is the same for configs whose runs can share their steps."""
    kept = {str(key): value for key, value in config.items()}
    for path in OWN:
        section, _, key = path.partition(".")
        if not key:
            kept.pop(section, None)
        elif isinstance(kept.get(section), Mapping):
            kept[section] = {k: v for k, v in kept[section].items() if k != key}
    return json.dumps(kept, sort_keys=True)


def shared_out(groups: Iterable[Sequence[Job]], num_slots: int, most: int) -> list[list[Job]]:
    """Groups cut into stacks of nearly equal size: one for each slot, or more that fit in memory.

    `most`: how many members memory holds in one stack. What is left of one goes alone.
    """
    stacks: list[list[Job]] = []
    for group in groups:
        num = max(min(num_slots, len(group) // 2), -(-len(group) // most), 1)
        bounds = [round(i * len(group) / num) for i in range(num + 1)]
        parts = [list(group[a:b]) for a, b in pairwise(bounds)]
        stacks += [part for part in parts if len(part) > 1]
    return stacks

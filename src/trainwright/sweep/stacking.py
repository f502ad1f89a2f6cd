"""Which jobs of a sweep may be trained as one program: those that differ in numbers alone.

They have the same network, data, task, length and batch size, and each its own seed, optimizer,
schedule and everything that looks at a run without changing how a step is computed.
"""

import json
import math
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from itertools import pairwise
from typing import Any, Literal

from trainwright.sweep.identity import without
from trainwright.sweep.job import Job

# Sections and keys in which the members of a stack may differ.
OWN = (
    "seed",
    "run",
    "sweep",
    "trust",
    "optimizer",
    "schedule",
    "data.augment",
    "task.label_smoothing",
    "task.penalty_weight",
    "task.auxiliary_weight",
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
    "trainwright.nn.airbench.AirbenchNet",
    "trainwright.nn.cnn.CNN",
    "trainwright.nn.cnn1d.CNN1D",
    "trainwright.nn.resnet.ResNet",
    "trainwright.nn.tables.resnet_mlp.ResNetMLP",
    "trainwright.nn.mlp_gan.mlp_gan",
    "trainwright.nn.conv_gan.conv_gan",
)
MIN_GAIN = 1.1  # times as fast; with less, stacking is not worth the company

Wanted = Literal["off", "auto", "on"]


class Stacking:
    """Which jobs of a sweep are stacked, and why the others are not; it is learned bit by bit."""

    def __init__(self, wanted: Wanted, jobs: Iterable[Job], begun_alone: Collection[str]) -> None:
        self._wanted = wanted
        self._reasons: Counter[str] = Counter()
        self._gains: list[float] = []
        groups: dict[str, list[Job]] = {}
        for job in jobs:
            reason = against(job.config)
            if job.id in begun_alone:
                reason = "started alone, and goes on so"
            if reason is None:
                groups.setdefault(stack_key(job.config), []).append(job)
            else:
                self._reasons[reason] += 1
        self.groups: list[list[Job]] = []  # of jobs that could be stacked with each other
        for group in groups.values():
            if len(group) > 1:
                self.groups.append(group)
            else:
                self._reasons["no other has the same network, data, task and length"] += 1
        self.stacks: list[list[Job]] = []

    def hear(self, gains: Sequence[Mapping[str, Any]]) -> None:
        """Take note of what stacking brings to each group, as measured, or why it cannot be."""
        worthwhile = []
        for group, gain in zip(self.groups, gains, strict=True):
            reason = gain["refused"]
            if reason is None and self._wanted == "auto" and gain["speedup"] < MIN_GAIN:
                reason = f"{gain['speedup']:.2g} times as fast if stacked, as measured here"
            if reason is None:
                worthwhile.append(group)
                self._gains.append(gain["speedup"])
            else:
                self._reasons[reason] += len(group)
        self.groups = worthwhile

    def share_out(self, num_slots: int, most: int) -> None:
        """Cut the groups into stacks: one for each slot, or more where memory wants them smaller.

        `most`: how many members memory holds in one stack.
        """
        self.stacks = []
        for group in self.groups:
            num = max(min(num_slots, len(group) // 2), math.ceil(len(group) / most), 1)
            bounds = [round(i * len(group) / num) for i in range(num + 1)]
            parts = [group[a:b] for a, b in pairwise(bounds)]
            self.stacks += [part for part in parts if len(part) > 1]

    @property
    def ids(self) -> list[list[str]]:
        """The ids of the jobs of each stack."""
        return [[job.id for job in stack] for stack in self.stacks]

    @property
    def speedup(self) -> float:
        """How many times as fast the stacked jobs train, of what was measured; 1 if nothing was."""
        return min(self._gains, default=1.0)

    def lines(self) -> list[str]:
        """What the plan says of it."""
        found = []
        num = sum(map(len, self.stacks))
        if num:
            sizes = sorted({len(stack) for stack in self.stacks})
            of = " and ".join(map(str, sizes))
            stacks = f"{len(self.stacks)} stack{'s' if len(self.stacks) > 1 else ''}"
            gain = f", {self.speedup:.2g} times as fast" if self._gains else ""
            found.append(f"stacked: {num} jobs in {stacks} of {of}{gain}")
        for reason, count in self._reasons.items():
            found.append(f"alone: {count} job{'s' if count > 1 else ''}: {reason}")
        return found


def against(config: Mapping[str, Any]) -> str | None:
    """Why a job of this config is trained alone, if it is."""
    task, trainer, model = config["task"], config["trainer"], config["model"]
    network = str(model.get("_target_"))
    if network not in MODELS:
        if network.startswith("trainwright."):
            return f"networks of the kind {network.rpartition('.')[2]} are not stacked"
        return f"only trainwright's own models are stacked, not {network}"
    if not str(task.get("_target_")).startswith("trainwright.tasks."):
        return f"only trainwright's own tasks are stacked, not {task.get('_target_')}"
    refused = {
        "a fork trains alone": config.get("fork") is not None,
        "trainer.accumulate computes a batch in parts": trainer["accumulate"] > 1,
        "trainer.precision=fp16 scales each loss": trainer["precision"] == "fp16",
        "trainer.deterministic": bool(trainer["deterministic"]),
        "trainer.compile compiles single runs": bool(trainer["compile"]),
        "trainer.cuda_graph=on captures the steps of single runs": trainer["cuda_graph"] == "on",
        "trainer.devices shares a run among processes": trainer.get("devices") not in (None, 1),
        "trainer.privacy computes gradients of single examples": bool(
            (trainer.get("privacy") or {}).get("epsilon")
        ),
        "trainer=federated trains clients in turn": config.get("federated") is not None,
        "model.spectral_norm": bool(model.get("spectral_norm")),
        "task.instance_noise": bool(task.get("instance_noise")),
    }
    return next((reason for reason, is_so in refused.items() if is_so), None)


def stack_key(config: Mapping[str, Any]) -> str:
    """Text that is the same for configs whose runs can share their steps.

    Their values may be wrong still: only a constructor knows.
    """
    kept = without(config, OWN)
    model = kept["model"]
    if "dropout" in model:  # where it is 0 there is no such layer
        kept["model"] = {**model, "dropout": model["dropout"] != 0}
    augment = config["data"].get("augment") or {}
    mixes = any(augment.get(key) for key in ("mixup", "cutmix"))  # targets of another shape
    task = kept["task"]
    if "r1" in task:  # and where this is 0, no such penalty
        is_on = task["loss"] != "wasserstein_gp" if task["r1"] == "auto" else task["r1"] != 0
        kept["task"] = {**task, "r1": is_on}
    return json.dumps([kept, mixes], sort_keys=True)

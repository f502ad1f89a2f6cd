"""What a run says of itself before it starts and when it has ended."""

import logging
import secrets
from collections.abc import Mapping, Sequence
from typing import Any

import torch

from trainwright.config.plan import Plan
from trainwright.data.balance import train_targets
from trainwright.data.columns import Image
from trainwright.data.dataset import Dataset
from trainwright.data.statistics import SMALLEST_IMAGE_STD
from trainwright.engine.checkpoint.several import kept
from trainwright.engine.device.peak import matrix_product_rate
from trainwright.report.score_table import score_table
from trainwright.run.assemble.assemble import Assembly
from trainwright.runs.folder import RunFolder
from trainwright.tasks.health import HEALTHY
from trainwright.tasks.task import Task
from trainwright.wording import (
    format_count,
    format_duration,
    format_number,
    metrics_text,
    printable,
)

log = logging.getLogger(__name__)

MOST_CLASSES = 12  # that are told one by one
GUESSED = 2**32  # a seed below it can be found by trying
UNEVEN = 10  # times as many examples of one class as of another


def parameter_counts(assembly: Assembly) -> dict[str, int]:
    """How many numbers each player learns."""
    players = assembly.state.task.players
    return {
        name: sum(p.numel() for p in player.parameters() if p.requires_grad)
        for name, player in players.items()
    }


def lineage_lines(assembly: Assembly) -> list[str]:
    """What a run begins with, where that is another run."""
    return [] if assembly.lineage is None else assembly.lineage.lines()


def _say_of_classes(plan: Plan, data: Dataset) -> None:
    """How many examples each has; and warn where these differ, and nothing typed answers that."""
    node, names = plan.task.node, data.info.class_names
    if not data.info.num_classes:
        return
    counts = torch.bincount(train_targets(data), minlength=data.info.num_classes)
    pairs = zip(names[:MOST_CLASSES], counts.tolist(), strict=False)
    told = ", ".join(f"{printable(name)[:20]}: {count:,}" for name, count in pairs)
    more = len(names) - MOST_CLASSES
    log.info("training examples: %s%s", told, f", and {more:,} more" if more > 0 else "")
    if plan.balance or node.get("class_weights") or node.get("focal"):
        return
    most, least = int(counts.argmax()), int(counts.argmin())
    if counts[most] > UNEVEN * counts[least]:
        log.warning(
            'classes differ in size: %s training examples of "%s", %s of "%s"; accuracy can hide'
            " that rare ones are never found",
            f"{counts[most]:,}", printable(data.info.class_names[most])[:40],
            f"{counts[least]:,}", printable(data.info.class_names[least])[:40],
        )  # fmt: skip
        log.warning("  what helps: task.class_weights=balanced, data.balance=true, task.focal=2")


def _say_of_images(data: Dataset) -> None:
    """Warn where none shows anything."""
    column = data.info.input
    if isinstance(column, Image) and max(column.std) <= SMALLEST_IMAGE_STD:
        log.warning("all training images are of one colour: there is nothing to learn from them")


def announce(plan: Plan, assembly: Assembly, folder: RunFolder, notes: Sequence[str] = ()) -> None:
    """Say what was chosen, and where the run goes; `notes`: how it goes on."""
    data, state, settings = assembly.dataset, assembly.state, assembly.settings
    for note in data.notes:
        log.info("%s", note)
    classes = f", {data.info.num_classes} classes" if data.info.num_classes else ""
    parts = (
        f"{len(data.train):,} train, {len(data.validation):,} validation, {len(data.test):,} test"
    )
    log.info("%s: %s examples of %s%s", data.info.name, parts, data.info.sizes, classes)
    _say_of_classes(plan, data)
    _say_of_images(data)
    counts = parameter_counts(assembly)
    sizes = ", ".join(f"{name} {format_count(count)}" for name, count in counts.items())
    log.info("parameters: %s", sizes)
    if chosen := state.task.describe():
        log.info("task: %s", chosen)
    log.info("computing on: %s", state.placement.describe())
    if state.privacy is not None:
        log.info("privacy: %s", state.privacy)
        log.info("  for who does not know the seed, or see this folder: share what is exported")
        if plan.seed < GUESSED:
            log.warning("seed=%d is easily guessed, and all noise follows from it", plan.seed)
            log.warning("  one that is not: seed=%d", secrets.randbits(60) + GUESSED)
    if state.rounds is not None:
        log.info("federated: %s", state.rounds)
        log.info("  a step is a round; averaged: %s", _averaged(state.task))
    total = state.clock.total_steps
    epochs = state.clock.epochs(total)
    num_tokens = data.info.num_tokens * state.clock.batch_size * total
    log.info(
        "training: %s steps (%.3g epochs%s), batches of %s",
        format_count(total),
        epochs,
        f", {format_count(num_tokens)} tokens" if num_tokens else "",
        format_count(settings.batch_size),
    )
    if state.step:
        log.info("resumed at step %d", state.step)
    for note in notes:
        log.info(note)
    judge = state.task.judge
    if judge is not None:
        floor = judge.floor[state.task.objective.metric]
        log.info(
            "score: features of %s, %s samples; %s real images get %s ± %s",
            judge.name,
            format_count(judge.num_samples),
            format_count(judge.num_floor),
            format_number(floor.value),
            format_number(floor.error),
        )
    log.info("folder: %s", folder.path)


def _averaged(task: Task) -> str:
    """What clients have their mean of."""
    weights = sum(p.numel() for p in task.parameters() if p.requires_grad)
    others = sum(b.numel() for b in task.buffers() if b.is_floating_point())
    statistics = f", and {others:,} statistics (of batch normalisation, say)" if others else ""
    return f"{weights:,} weights{statistics}; not averaged: the optimizer's memory, which is new"


def report(assembly: Assembly, folder: RunFolder, summary: Mapping[str, Any]) -> None:
    """Say how it went."""
    wanted = assembly.state.task.headline
    if assembly.state.privacy is not None:
        spent = summary["privacy"]
        epsilon = format_number(spent["epsilon"])
        log.info("privacy spent: epsilon %s at delta %g", epsilon, spent["delta"])
    for name in ("best", "last"):
        evaluation = summary[name]
        if evaluation is not None:
            text = metrics_text(evaluation["metrics"], wanted=wanted)
            log.info("%s: step %d, validation %s", name, evaluation["step"], text)
        for place, one in kept(folder).items() if name == "best" else ():
            if place > 1:
                text = metrics_text(one.metrics, wanted=wanted)
                log.info("best-%d: step %d, validation %s", place, one.step, text)
    test = metrics_text(summary["test"], wanted=wanted)
    log.info("test (best weights): %s", test, extra={"result_of": folder.path})
    if beside := summary["test"].get("baselines"):
        from trainwright.run.baselines import told

        log.info("beside it, of scikit-learn: test %s", told(beside))
    if summary.get("health"):
        log.info("health: %s", _course(summary["health"]))
    score = summary["test"].get("score")
    if score is not None:
        log.info("score of new samples (best weights), in features of %s:", score["features"])
        for line in score_table(score):
            log.info("  %s", line)
    rate = _rate(assembly, summary["examples_per_second"])
    trained, total = format_duration(summary["seconds"]), format_duration(summary["total_seconds"])
    legs = f" in {len(summary['legs'])} legs" if len(summary["legs"]) > 1 else ""
    log.info("time: %s training%s at %s, %s in all", trained, legs, rate, total)
    grids = sorted(folder.samples.glob("[0-9]*.*"))
    if grids:
        log.info("samples: %s", grids[-1])
    else:
        log.info("folder: %s", folder.path)


def _rate(assembly: Assembly, examples_per_second: float) -> str:
    """Examples or tokens a second; and the share of what the device can, where a task knows that.

    The device's best is that of a large product of matrices, found out now.
    """
    num_tokens = assembly.dataset.info.num_tokens
    unit = "tokens" if num_tokens else "examples"
    rate = f"{examples_per_second * (num_tokens or 1):,.0f} {unit}/s"
    flops = assembly.state.task.training_flops
    if flops is None:
        return rate
    best = matrix_product_rate(assembly.state.placement)
    share = flops * examples_per_second / best
    return f"{rate} ({share:.0%} of {best / 1e9:,.0f} GFLOP/s, a matrix product here)"


def _course(found: Mapping[str, list[int]]) -> str:
    """`healthy at all 10 evaluations`, or when it was not."""
    total = sum(len(steps) for steps in found.values())
    if len(found) == 1:
        return f"{next(iter(found))} at all {total} evaluations"
    others = [
        f"{what} at step {', '.join(map(str, s))}" for what, s in found.items() if what != HEALTHY
    ]
    return f"healthy at {len(found.get(HEALTHY, []))} of {total} evaluations; {'; '.join(others)}"

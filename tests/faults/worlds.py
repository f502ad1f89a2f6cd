"""Forked processes that train together over gloo, so that torch is imported once for all."""

import json
import socket
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from harness import Child, start

from trainwright.config.plan import Plan
from trainwright.engine import trainer
from trainwright.engine.checkpoint import checkpoint
from trainwright.engine.ranks.group import Meeting, Ranks
from trainwright.engine.ranks.world import ALONE, World
from trainwright.run.ranks.follow import follow
from trainwright.run.request import Outcome, Request
from trainwright.run.resume.resume import resume_request
from trainwright.run.run import run

Rows = list[dict[str, Any]]

SMALL = (
    "trainer.epochs=null",
    "trainer.precision=fp32",
)
# 2^-53 is 1.1e-16: so many roundings a step.
CLOSE = 1e-12
# What is not a loss may hang on more: where a loss does not depend on a weight, as on a bias before
# batch normalisation, its gradient is rounding, which Adam divides by no more than its eps of 1e-8.
LOOSE = 1e-9


def begin(
    size: int, output: Path, lead: Callable[[World], Any], others: Callable[[World], Any] = follow
) -> list[Child]:
    """Rank 0, in which `lead` is called, and those that follow it."""
    if size == 1:
        return [start(lambda: lead(ALONE), output)]
    listener = socket.create_server(("127.0.0.1", 0))
    port = listener.getsockname()[1]

    def work(rank: int) -> Any:
        own = listener.fileno() if rank == 0 else None
        world = Ranks(Meeting(rank, size, rank, "127.0.0.1", port, own))
        outcome = lead(world) if rank == 0 else others(world)
        world.leave()
        return outcome

    children = [
        start(lambda rank=rank: work(rank), output.with_suffix(f".{rank}.txt"))  # type: ignore[misc]
        for rank in range(size)
    ]
    listener.close()
    return children


def lead(composed: Callable[..., Any], folder: Path, *overrides: str) -> Callable[[World], Outcome]:
    """What rank 0 of `train <overrides>` does, in a folder that must be new.

    Beside that it writes what was seen in each step, with all digits.
    """

    def work(world: World) -> Outcome:
        _note_steps(folder.with_suffix(".steps"))
        config = composed(*overrides, f"run.dir={folder}")
        return run(Request(Plan.of(config, name=folder.name, overrides=overrides), world=world))

    return work


def lead_again(composed: Callable[..., Any], path: Path, *overrides: str) -> Callable[..., Outcome]:
    """What rank 0 of `train trainer.resume=<path> <overrides>` does."""

    def work(world: World) -> Outcome:
        typed = [f"trainer.resume={path}", *overrides]
        return run(replace(resume_request(composed(*typed), typed), world=world))

    return work


def _note_steps(path: Path) -> None:
    take_step = trainer.train_step

    def noted_step(*given: Any) -> Any:
        metrics = take_step(*given)
        seen = {name: float(value.double().mean()) for name, value in metrics.items()}
        with path.open("a") as file:
            file.write(json.dumps(seen) + "\n")
        return metrics

    trainer.train_step = noted_step


def train_on(size: int, composed: Callable[..., Any], folder: Path, *overrides: str) -> Rows:
    """Train on so many ranks; returns what was seen in each step."""
    children = begin(size, folder.with_suffix(".txt"), lead(composed, folder, *overrides))
    codes = [child.wait() for child in children]
    assert codes == [0] * size, "\n".join(child.text for child in children)
    steps = folder.with_suffix(".steps")
    return [json.loads(line) for line in steps.read_text().splitlines()]


def of_checkpoint(folder: Path) -> Any:
    return checkpoint.load(folder / "checkpoints" / "last.safetensors")


def losses(seen: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in seen.items() if name.endswith("loss")}


def assert_same_run(folders: list[Path], steps: list[Rows]) -> None:
    """All train as the first, up to rounding."""
    (first, *others), (expected, *found) = folders, steps
    tensors, metadata = of_checkpoint(first)
    for folder, seen in zip(others, found, strict=True):
        for one, other in zip(expected, seen, strict=True):
            assert losses(other) == pytest.approx(losses(one), rel=CLOSE, abs=CLOSE)
            assert other == pytest.approx(one, rel=LOOSE, abs=LOOSE)
        other_tensors, other_metadata = of_checkpoint(folder)
        evaluated, once_more = (
            m["progress"]["last"]["metrics"] for m in (metadata, other_metadata)
        )
        assert once_more == pytest.approx(evaluated, rel=LOOSE, abs=LOOSE)
        assert other_tensors.keys() == tensors.keys()
        for name, value in tensors.items():
            torch.testing.assert_close(other_tensors[name], value, rtol=LOOSE, atol=LOOSE, msg=name)

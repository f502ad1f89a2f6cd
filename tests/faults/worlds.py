"""Forked processes that train together over gloo, so that torch is imported once for all."""

import json
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

from harness import Child, start

from trainwright.config.plan import Plan
from trainwright.engine import trainer
from trainwright.engine.ranks.group import Meeting, Ranks
from trainwright.engine.ranks.world import ALONE, World
from trainwright.run.ranks.follow import follow
from trainwright.run.request import Outcome, Request
from trainwright.run.run import run

Rows = list[dict[str, Any]]


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
        take_step = trainer.train_step

        def noted_step(*given: Any) -> Any:
            metrics = take_step(*given)
            seen = {name: float(value.double().mean()) for name, value in metrics.items()}
            with folder.with_suffix(".steps").open("a") as file:
                file.write(json.dumps(seen) + "\n")
            return metrics

        trainer.train_step = noted_step
        config = composed(*overrides, f"run.dir={folder}")
        return run(Request(Plan.of(config, name=folder.name, overrides=overrides), world=world))

    return work


def train_on(size: int, composed: Callable[..., Any], folder: Path, *overrides: str) -> Rows:
    """Train on so many ranks; returns what was seen in each step."""
    children = begin(size, folder.with_suffix(".txt"), lead(composed, folder, *overrides))
    codes = [child.wait() for child in children]
    assert codes == [0] * size, "\n".join(child.text for child in children)
    steps = folder.with_suffix(".steps")
    return [json.loads(line) for line in steps.read_text().splitlines()]

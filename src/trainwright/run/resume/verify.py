"""Verify a run: train the steps before its last checkpoint again, and compare every bit."""

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from trainwright.config.stored import stored_plan
from trainwright.engine.checkpoint import checkpoint
from trainwright.engine.device.environment import THREADS_NEXT
from trainwright.engine.hook import Hook
from trainwright.engine.state import TrainState
from trainwright.engine.trainer import fit
from trainwright.errors import CheckpointError
from trainwright.hooks.evaluate import Evaluate
from trainwright.run.assemble.assemble import Assembly, assemble
from trainwright.run.resume.continuing import restore_state, what_is_not_exact
from trainwright.run.resume.recover import Found, read
from trainwright.run.stopping import stopping_hooks
from trainwright.runs.folder import RunFolder


@dataclass(frozen=True)
class Verdict:
    """What the same steps came to, a second time."""

    begin: int  # the step of the checkpoint before
    end: int
    num_tensors: int
    difference: str | None  # the first thing that differs; None: all is identical
    not_exact: tuple[str, ...]  # what is known to change the bits

    def __str__(self) -> str:
        steps = f"steps {self.begin} to {self.end} again"
        if self.difference is None:
            return f"identical: {steps}, all {self.num_tensors} tensors the same to the bit"
        return f"different: {steps}: {self.difference}"


def verify(folder: RunFolder, *, trust: Collection[str] = ()) -> Verdict:
    """Go from the `previous` checkpoint of a run to its `last`, and compare with that.

    Only reads the folder. Uses as many threads as the run did, unless its config says how many.
    Raises CheckpointError where either checkpoint is missing or damaged, and as `assemble` does.
    """
    last = read(folder.last)
    if not folder.previous.exists():
        raise CheckpointError(
            f"{folder.path} has one checkpoint, and none before it to begin from\n"
            "  a run keeps the one before from its second save on: lower trainer.save_every"
        )
    before = read(folder.previous)
    if before.step >= last.step:
        raise CheckpointError(
            f"{before.path.name} is of step {before.step}, not before {last.step} of last"
        )
    plan = stored_plan(last.path, last.metadata, trust)
    last.metadata.pop(THREADS_NEXT, None)  # which are of no concern to the steps before
    assembly = assemble(plan, again=last.metadata)
    hooks: list[Hook] = [*stopping_hooks(assembly)]
    inexact = what_is_not_exact(last.metadata, assembly)
    restore_state(before.tensors, before.metadata, assembly, hooks, _began_anew(before, last))
    _train_until(last, assembly, hooks)
    difference = _first_difference(assembly.state, last)
    return Verdict(before.step, last.step, len(last.tensors), difference, tuple(inexact))


class _StopAt(Hook):
    """Ends training after a step."""

    def __init__(self, step: int) -> None:
        self._step = step

    def due(self, step: int, total: int) -> bool:
        """At that step."""
        return step == self._step

    def __call__(self, state: TrainState, metrics: dict[str, Tensor]) -> None:
        """Ask the loop to end."""
        state.stop_reason = "verified"


def _train_until(last: Found, assembly: Assembly, stopping: list[Hook]) -> None:
    """Train with what decides how a run goes; nothing is logged or saved."""
    settings = assembly.settings
    evaluate = Evaluate(
        assembly.make_batches(assembly.dataset.validation),
        every=assembly.state.clock.steps(settings.evaluate_every),
        batch_size=settings.evaluate_batch_size,
    )
    hooks: list[Hook] = [evaluate, *stopping]
    # Where the evaluation of the last step was cut short, so is this one.
    hooks.insert(0 if last.logged_step < last.step else len(hooks), _StopAt(last.step))
    fit(assembly.state, assembly.train, hooks, settings)


def _began_anew(before: Found, last: Found) -> set[str]:
    """What began anew when the run went on from the earlier of the two."""
    resumed = last.metadata.get("resumed")
    if not isinstance(resumed, dict) or resumed.get("step") != before.step:
        return set()
    return {str(part) for part in resumed.get("anew", ())}


def _first_difference(state: TrainState, last: Found) -> str | None:
    tensors = checkpoint.state_tensors(state)
    if state.step != last.step:
        return f"it ended at step {state.step}"
    for name in sorted(tensors.keys() | last.tensors.keys()):
        if name not in tensors or name not in last.tensors:
            return f"{name} is only in one of them"
        mine, theirs = tensors[name], last.tensors[name]
        if mine.shape != theirs.shape or mine.dtype != theirs.dtype:
            return f"{name} has another shape or type"
        if not torch.equal(mine, theirs):
            apart = (mine.double() - theirs.double()).abs()
            count = int((mine != theirs).sum())
            return f"{name}: {count} of {mine.numel()} numbers, by up to {float(apart.max()):.3g}"
    return _first_other(checkpoint.progress_metadata(state), last.metadata["progress"])


def _first_other(mine: dict[str, Any], theirs: dict[str, Any]) -> str | None:
    for name in sorted((mine.keys() | theirs.keys()) - {"means"}):  # for nothing is logged here
        if mine.get(name) != theirs.get(name):
            return f"{name} is {mine.get(name)}, and was {theirs.get(name)}"
    return None

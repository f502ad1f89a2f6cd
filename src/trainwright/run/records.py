"""What a run writes about itself: into its checkpoints, its config.yaml and its summary."""

import platform
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

import torch
from omegaconf import OmegaConf

from trainwright import __version__
from trainwright.config.plan import Plan
from trainwright.engine.device.environment import environment
from trainwright.engine.state import Evaluation
from trainwright.run.announce import parameter_counts
from trainwright.run.assemble.assemble import Assembly
from trainwright.tasks.task import Task

Summary = dict[str, Any]


def facts(plan: Plan, assembly: Assembly) -> dict[str, Any]:
    """What a checkpoint needs besides the state, to be used without its dataset or its folder."""
    state = assembly.state
    return {
        **_lineage(assembly),
        "name": plan.name,
        "config": OmegaConf.to_container(plan.kept),
        "data": assembly.dataset.info.plain(),
        "examples": {"train": len(assembly.dataset.train)},
        **_architecture(state.task),
        "total_steps": state.clock.total_steps,
        "versions": _versions(),
        "environment": environment(state.placement, assembly.dataset),
        "placement": state.placement.describe(),
    }


def _architecture(task: Task) -> dict[str, Any]:
    """What a network says of itself that its config does not, as plain JSON types."""
    said = (getattr(module, "architecture", None) for module in task.players.values())
    return next(({"architecture": dict(one)} for one in said if isinstance(one, dict)), {})


def first_summary(name: str, assembly: Assembly) -> Summary:
    """The summary of a run that begins or goes on."""
    return {
        "status": "running",
        "name": name,
        "started": datetime.now(UTC).isoformat(timespec="milliseconds"),
        **_lineage(assembly),
        "objective": assembly.state.task.objective.metric,
        "higher_is_better": assembly.state.task.objective.higher_is_better,
        "parameters": parameter_counts(assembly),
        "steps": assembly.state.clock.total_steps,
        "placement": assembly.state.placement.describe(),
        "versions": _versions(),
    }


def progress(assembly: Assembly) -> Summary:
    """The part of the summary that says how far a run has come."""
    state = assembly.state
    return {
        "step": state.step,
        "stopped_because": state.stop_reason,
        "best": _evaluation(state.best),
        "last": _evaluation(state.last),
        "skipped_steps": state.recovery.num_skipped,
        "rollbacks": state.recovery.num_rollbacks,
        **({} if state.privacy is None else {"privacy": state.privacy.summary(state.step)}),
    }


def _lineage(assembly: Assembly) -> dict[str, Any]:
    return {} if assembly.lineage is None else {"lineage": assembly.lineage.plain()}


def _versions() -> dict[str, str]:
    return {
        "trainwright": __version__,
        "torch": torch.__version__,
        "python": platform.python_version(),
    }


def _evaluation(evaluation: Evaluation | None) -> dict[str, Any] | None:
    return None if evaluation is None else asdict(evaluation)

"""The settings of a sweep, as `configs/sweep/*.yaml` writes them.

Those that do not go together, or would be ignored, are refused beforehand.
"""

import importlib.util
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field

from trainwright.engine.clock import Clock
from trainwright.errors import ConfigError, install
from trainwright.sweep.stacking import Wanted
from trainwright.sweep.verdict.ranking import PARAMETERS, Ranked, Ranking, logged
from trainwright.wording import nearest

Positive = Annotated[int, Field(gt=0)]
Mode = Literal["min", "max"]
OF_OWN_LAUNCHER = ("timeout", "retries", "fail_fast", "isolation", "stack")
OF_PRUNING = ("prune_after", "prune_factor")


@dataclass(frozen=True)
class SweepSettings:
    """What a sweep is told; `configs/sweep/grid.yaml` says what each key means."""

    __pydantic_config__ = ConfigDict(extra="forbid")

    kind: Literal["grid", "zip", "union", "random", "optuna"] = "grid"
    params: dict[str, Any] = field(default_factory=dict)
    name: str | None = None
    dir: str | None = None
    dry_run: bool = False

    jobs: Positive | None = None
    isolation: Literal["auto", "warm", "process"] = "auto"
    rehearse: bool = True
    timeout: Annotated[float, Field(gt=0)] | None = None
    retries: Annotated[int, Field(ge=0)] = 0
    fail_fast: bool = False
    stack: Wanted = "off"
    pictures: Literal["best", "all"] = "best"

    metric: str | list[str] | None = None
    mode: Mode | list[Mode] | None = None

    prune: Literal["median", "halving", "hyperband"] | None = None
    prune_after: int | str = "1 epoch"
    prune_factor: Annotated[int, Field(ge=2)] = 3

    trials: Positive = 20
    seed: int = 0
    sampler: Literal["tpe", "cmaes", "gp", "random"] = "tpe"
    storage: str | None = None

    job: str | None = None

    @property
    def ranking(self) -> Ranking | None:
        """What was asked to be ranked; None: the objective."""
        metrics = [self.metric] if isinstance(self.metric, str) else self.metric or []
        modes = [self.mode] if isinstance(self.mode, str) else self.mode or []
        if len(metrics) != len(modes):
            raise ConfigError(
                "sweep.metric and sweep.mode belong together, a mode for each metric\n"
                "  such as sweep.metric=validation/loss sweep.mode=min\n"
                "  or 'sweep.metric=[accuracy,parameters]' 'sweep.mode=[max,min]'"
            )
        names = [m if "/" in m or m == PARAMETERS else f"validation/{m}" for m in metrics]
        found = zip(names, modes, strict=True)
        return tuple(Ranked(name, mode == "max") for name, mode in found) or None


def check(wanted: SweepSettings, *, has_own_launcher: bool) -> None:
    """Raise ConfigError for the first mistake; another launcher than ours has its own settings."""
    ranking = wanted.ranking or ()
    if wanted.prune is not None and (len(ranking) > 1 or PARAMETERS in [r.metric for r in ranking]):
        raise ConfigError(
            f"sweep.prune={wanted.prune} compares running jobs by one metric that they log\n"
            "  leave it out, or rank by one such metric"
        )
    if wanted.sampler == "cmaes" and len(ranking) > 1:
        raise ConfigError(
            "sweep.sampler=cmaes searches by one metric alone\n  for several: tpe, gp or random"
        )
    if wanted.stack != "off":
        _check_stackable(wanted)
    if wanted.job is not None:
        raise ConfigError("sweep.job is for a single job: leave out -m")
    _refuse_without_effect(wanted, ("sampler", "storage"), "sweep=optuna", wanted.kind == "optuna")
    try:
        Clock(num_examples=1, batch_size=1, total_steps=1).steps(wanted.prune_after)
    except ValueError as error:
        raise ConfigError(f"sweep.prune_after: {error}") from None
    searches = wanted.kind in ("random", "optuna")
    _refuse_without_effect(wanted, ("trials",), "sweep=random and sweep=optuna", searches)
    _refuse_without_effect(wanted, OF_PRUNING, "sweep.prune", wanted.prune is not None)
    own = "trainwright's own launcher"
    _refuse_without_effect(wanted, OF_OWN_LAUNCHER, own, has_own_launcher)


def _check_stackable(wanted: SweepSettings) -> None:
    problems = {
        f"sweep.timeout={wanted.timeout or 0:g}, which ends single jobs": wanted.timeout,
        "sweep.rehearse=false: a stack is tried before anything starts": not wanted.rehearse,
        "sweep=optuna, whose jobs are chosen one after the other": wanted.kind == "optuna",
    }
    for problem in filter(problems.get, problems):
        raise ConfigError(f"sweep.stack does not go with {problem}\n  leave out one of them")


def _refuse_without_effect(
    wanted: SweepSettings, keys: Sequence[str], what: str, has_effect: bool
) -> None:
    """Raise ConfigError for a setting that was chosen and would be ignored."""
    usual = SweepSettings()
    for key in keys:
        if not has_effect and getattr(wanted, key) != getattr(usual, key):
            raise ConfigError(
                f"sweep.{key}={getattr(wanted, key)} has no effect: it is for {what}\n"
                "  leave it out, or choose that"
            )


def need_optuna(sampler: str) -> None:
    """Raise ConfigError where a package of the extra is missing."""
    for package in ("optuna", *(["cmaes"] if sampler == "cmaes" else [])):
        if importlib.util.find_spec(package) is None:
            raise ConfigError(
                f"sweep=optuna needs {package}, which is not installed\n  {install('sweep')}"
            )


def refuse_unlogged(ranking: Ranking, folder: Path) -> None:
    """Raise ConfigError for a metric that the run in `folder`, which has finished, never logged."""
    there = logged(folder)
    for ranked in ranking:
        if ranked.metric not in (*there, PARAMETERS):
            raise ConfigError(
                f"sweep.metric={ranked.metric}: the first run has finished, and logged no such"
                f" metric{nearest(ranked.metric, there)}\n  there are {', '.join(there)}"
            )


def unknown_metric(what: str) -> ConfigError:
    """The error for what needs a ranking, where only a run would tell what is ranked."""
    return ConfigError(
        f"{what} needs to know what is ranked: leave sweep.rehearse as it is,\n"
        "  or add sweep.metric=... and sweep.mode=..."
    )

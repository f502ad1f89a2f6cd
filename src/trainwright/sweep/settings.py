"""The settings of a sweep, as `configs/sweep/*.yaml` writes them."""

from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field

from trainwright.errors import ConfigError
from trainwright.sweep.stacking import Wanted
from trainwright.sweep.verdict.ranking import PARAMETERS, Ranked, Ranking

Positive = Annotated[int, Field(gt=0)]
Mode = Literal["min", "max"]


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

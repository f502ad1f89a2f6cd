"""What a run is asked for, and how it ended."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from trainwright.config.plan import Plan
from trainwright.data.dataset import Dataset
from trainwright.engine.ranks.world import ALONE, World
from trainwright.hooks.prune import Prune
from trainwright.report.plots.drawing import Artist
from trainwright.run.resume.continuing import Resume


@dataclass(frozen=True)
class Request:
    """What was asked for: the plan of a run, and the earlier run where it is one that goes on.

    `dataset`: the data of the plan, where it is in memory already. `prune` may stop the run.
    `draws` is asked at its end whether its pictures are wanted; None: they are. `artist` draws.
    `stacked`: its steps are made together with those of other runs. `world`: the ranks that make
    them, of which this is the first. `began` is told the folder. `notes` are for the log.
    """

    plan: Plan
    resume: Resume | None = None
    dataset: Dataset | None = None
    prune: Prune | None = None
    draws: Callable[[], bool] | None = None
    artist: Artist | None = None
    stacked: bool = False
    world: World = ALONE
    began: Callable[[Path], object] | None = None
    notes: Sequence[str] = ()


@dataclass(frozen=True)
class Outcome:
    """How a run ended: its folder, its best objective, the number of a signal that stopped it."""

    folder: Path
    objective: float | None
    signal: int | None = None

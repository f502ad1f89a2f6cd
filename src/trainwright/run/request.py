"""What a run is asked for, and how it ended."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from omegaconf import DictConfig

from trainwright.config.from_environment import without_environment
from trainwright.data.dataset import Dataset
from trainwright.hooks.prune import Prune
from trainwright.report.plots.drawing import Artist
from trainwright.run.resume.continuing import Resume


@dataclass(frozen=True)
class Request:
    """What was asked for: the config, what was typed, the run's name, a run to go on with.

    `dataset`: the data of the config, where it is in memory already. `prune` may stop the run.
    `draws` is asked at its end whether its pictures are wanted; None: they are. `artist` draws.
    `stacked`: its steps are made together with those of other runs.
    """

    config: DictConfig
    overrides: Sequence[str]
    name: str
    resume: Resume | None = None
    dataset: Dataset | None = None
    prune: Prune | None = None
    draws: Callable[[], bool] | None = None
    artist: Artist | None = None
    stacked: bool = False

    @cached_property
    def kept_config(self) -> DictConfig:
        """The config to be kept, resolved. Where the run is, it need not know: it may be moved."""
        kept = without_environment(self.config)
        kept.run.dir = None
        return kept


@dataclass(frozen=True)
class Outcome:
    """How a run ended: its folder, its best objective, the number of a signal that stopped it."""

    folder: Path
    objective: float | None
    signal: int | None = None

"""Hydra finds sweepers in this package, whose name it prescribes; ours is trainwright.sweep."""

import sys
from dataclasses import dataclass

from hydra.core.config_store import ConfigStore
from hydra.plugins.sweeper import Sweeper
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig


@dataclass
class TrainwrightSweeperConf:
    """The settings of a sweep are in the config's own group `sweep`, so there is nothing here."""

    _target_: str = "hydra_plugins.trainwright_sweep.TrainwrightSweeper"


ConfigStore.instance().store(
    group="hydra/sweeper",
    name="trainwright",
    node=TrainwrightSweeperConf,
    provider="trainwright",
)


class TrainwrightSweeper(Sweeper):
    """Plans a sweep, runs it and compares its jobs; see `trainwright.sweep.conduct`."""

    def setup(
        self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig
    ) -> None:
        """Note what Hydra has composed without the values that are swept."""
        self.hydra_context = hydra_context
        self.task_function = task_function
        self.config = config

    def sweep(self, arguments: list[str]) -> None:
        """Conduct the sweep. Exits with the code of the first job that failed."""
        from trainwright.streams import outlive_readers
        from trainwright.sweep.conduct import Conductor

        outlive_readers()
        assert self.hydra_context is not None
        assert self.config is not None
        conductor = Conductor(self.hydra_context, self.task_function, self.config, arguments)
        code = conductor.conduct()
        if code:
            sys.exit(code)

"""A sweep of which not one job could start leaves no folder behind."""

from pathlib import Path
from typing import Any, ClassVar

from hydra.experimental.callback import Callback
from omegaconf import DictConfig


class SweepFolder(Callback):
    """Notes where Hydra is about to make the folder of a sweep (`configs/train.yaml` names us)."""

    made: ClassVar[list[Path]] = []

    def on_multirun_start(self, config: DictConfig, **kwargs: Any) -> None:
        """Note the folder, and those above it that will be made with it, innermost first."""
        folder = Path(config.hydra.sweep.dir)
        SweepFolder.made = [f for f in (folder, *folder.parents) if not f.exists()]

    @classmethod
    def remove_if_unused(cls) -> None:
        """Remove what was made for the sweep if there is no run in it."""
        made, cls.made = cls.made, []
        if not made or not made[0].is_dir():
            return
        if [path.name for path in made[0].iterdir()] != ["multirun.yaml"]:
            return
        (made[0] / "multirun.yaml").unlink()
        for folder in made:
            try:
                folder.rmdir()
            except OSError:  # another run has moved in
                return

"""Sample grids along the way: the same latents each time, so that progress shows."""

import io

import torch
from torch import Tensor

from trainwright.engine.hook import Hook, due_every
from trainwright.engine.state import TrainState
from trainwright.files import disk_error
from trainwright.report.plots.grid import image_grid, save_image
from trainwright.runs.folder import RunFolder


class Samples(Hook):
    """Writes samples/<step>.png for tasks that have something to show."""

    def __init__(self, folder: RunFolder, *, every: float) -> None:
        self._folder = folder
        self._every = every

    def due(self, step: int, total: int) -> bool:
        """At its cadence and at the end."""
        return due_every(self._every, step, total)

    @torch.no_grad()
    def __call__(self, state: TrainState, metrics: dict[str, Tensor]) -> None:
        """Draw the showcase of the task that is evaluated."""
        task = state.evaluated_task
        task.eval()
        with state.placement.autocast():
            images = task.showcase()
        task.train()
        if images is None:
            return
        path = self._folder.samples / f"{state.step:06d}.png"
        picture = image_grid(images.cpu(), columns=task.showcase_columns)
        try:
            save_image(picture, path)
        except OSError as error:
            in_memory = io.BytesIO()
            picture.save(in_memory, "PNG")
            raise disk_error(path, in_memory.tell(), error) from error

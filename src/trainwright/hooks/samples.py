"""What a task has to show along the way: of the same latents each time, so that progress shows."""

import io

import torch
from torch import Tensor

from trainwright.engine.hook import Regular
from trainwright.engine.state import TrainState
from trainwright.errors import ConfigError
from trainwright.files import disk_error, write_text
from trainwright.report.plots.grid import image_grid, save_image
from trainwright.runs.folder import RunFolder
from trainwright.tasks.show import Images, Shown, Table, Text


class Samples(Regular):
    """Writes samples/<step>.png, .txt or .csv for tasks that have something to show."""

    is_rank_0s = True
    reads_weights = True

    def __init__(self, folder: RunFolder, *, every: float) -> None:
        super().__init__(every)
        self._folder = folder

    @torch.no_grad()
    def __call__(self, state: TrainState, metrics: dict[str, Tensor]) -> None:
        """Write the showcase of the task that is evaluated."""
        state.open()
        task = state.evaluated_task
        task.eval()
        with state.placement.autocast():
            shown = task.showcase()
        task.train()
        if not isinstance(shown, Images | Text | Table | None):
            raise ConfigError(
                f"task: {type(task).__name__}.showcase returned a {type(shown).__name__}\n"
                "  it must return Images, Text or a Table, of trainwright.tasks.show, or None"
            )
        if shown is not None:
            write_shown(shown, self._folder, f"{state.step:06d}")


def write_shown(shown: Shown, folder: RunFolder, name: str) -> None:
    """Write `samples/<name>` with the suffix that suits it. Raises DiskError."""
    if not isinstance(shown, Images):
        folder.samples.mkdir(exist_ok=True)
        write_text(folder.samples / f"{name}.{shown.suffix}", shown.written)
        return
    path = folder.samples / f"{name}.png"
    picture = image_grid(shown.images.cpu(), columns=shown.columns)
    try:
        save_image(picture, path)
    except OSError as error:
        in_memory = io.BytesIO()
        picture.save(in_memory, "PNG")
        raise disk_error(path, in_memory.tell(), error) from error

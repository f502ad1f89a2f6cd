"""TensorBoard: event files in the run's folder, or beside those of other runs."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from PIL import Image

from trainwright.hooks.loggers.logger import LoggedRun, Logger, final_scalars
from trainwright.runs.folder import file_name

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter


class TensorBoard(Logger):
    """Writes event files to `dir`, or to `tensorboard` in the run folder.

    A resumed run writes a further file that takes back what the first says of later steps.
    """

    name: ClassVar[str] = "tensorboard"
    _writer: "SummaryWriter"  # from `start` on
    _step: int

    def __init__(self, *, dir: str | None = None) -> None:
        self._dir = dir

    def start(self, run: LoggedRun) -> None:
        from torch.utils.tensorboard import SummaryWriter

        own = run.folder / "tensorboard"
        folder = own if self._dir is None else Path(self._dir) / file_name(run.name)
        purge_step = run.step + 1 if run.step else None
        self._step = run.step
        self._writer = SummaryWriter(folder, purge_step=purge_step)
        self._text("config", dict(run.config), run.step + 1)

    def scalars(self, step: int, values: Mapping[str, float]) -> None:
        """Write each number under its name, as float32."""
        self._step = step
        for name, value in values.items():
            self._writer.add_scalar(name, value, step)

    def image(self, step: int, name: str, path: Path) -> None:
        """Write the picture (H, W, 3)."""
        with Image.open(path) as image:
            pixels = np.asarray(image.convert("RGB"))
        self._writer.add_image(name, pixels, step, dataformats="HWC")

    def finish(self, summary: Mapping[str, Any]) -> None:
        """Write the final numbers at the last step and the summary as text, and close the file."""
        final = final_scalars(summary)
        step = int(final.pop("step", self._step))
        self.scalars(step, final)
        self._text("summary", dict(summary), step)
        self._writer.close()

    def _text(self, name: str, value: dict[str, Any], step: int) -> None:
        # Indented by four, markdown shows it as it is.
        lines = json.dumps(value, indent=2).splitlines()
        text = "\n".join(f"    {line}" for line in lines)
        self._writer.add_text(name, text, step)

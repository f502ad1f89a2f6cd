"""What a run makes up, as arrays that show themselves."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from trainwright.api.results.notebook import png
from trainwright.errors import ConfigError
from trainwright.files import typed_path

if TYPE_CHECKING:
    from PIL import Image

    from trainwright.tasks.show import MadeUp
    from trainwright.tasks.show import Samples as Made


class Samples:
    """What a run has made up: images, which a notebook shows as a grid, a text or a table."""

    def __init__(self, made: "MadeUp") -> None:
        self._made = made

    @property
    def images(self) -> NDArray[np.float32]:
        """(N, C, H, W) float32 from 0 to 1; so is `np.asarray(samples)`. Raises ConfigError."""
        found: NDArray[np.float32] = self._images.images.float().numpy()
        return found

    @property
    def classes(self) -> NDArray[np.int64] | None:
        """The class of each image (N,); None where the run was not told of classes."""
        classes = self._images.classes
        return None if classes is None else classes.numpy()

    @property
    def text(self) -> str:
        """What a language model has written; of a table its CSV. Raises ConfigError for images."""
        from trainwright.cli.terminal.writing import whole_text
        from trainwright.tasks.show import Samples as Made
        from trainwright.tasks.show import Text, Writing

        if isinstance(self._made, Made):
            raise ConfigError("this run makes up images: take .images")
        if isinstance(self._made, Writing):
            self._made = Text(whole_text(self._made))
        return self._made.written

    @property
    def _images(self) -> "Made":
        from trainwright.tasks.show import Samples as Made

        if not isinstance(self._made, Made):
            raise ConfigError("this run makes up text: take .text")
        return self._made

    @property
    def shape(self) -> tuple[int, ...]:
        """Of the images."""
        return self.images.shape

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: Any) -> NDArray[np.float32]:
        found: NDArray[np.float32] = self.images[index]
        return found

    def __iter__(self) -> Iterator[NDArray[np.float32]]:
        return iter(self.images)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        return np.array(self.images, dtype=dtype, copy=copy)

    @property
    def grid(self) -> "Image.Image":
        """All of them in one picture, as `runs sample` writes it."""
        from trainwright.report.plots.grid import image_grid

        made = self._images
        return image_grid(made.images, columns=made.columns)

    def save(self, path: str | Path) -> None:
        """Write the grid to a .png file."""
        from trainwright.report.plots.grid import save_image

        save_image(self.grid, typed_path(str(path)))

    def __repr__(self) -> str:
        if not hasattr(self._made, "images"):
            return self.text
        return f"{len(self):,} samples of {'x'.join(map(str, self.shape[1:]))}"

    def _repr_png_(self) -> bytes | None:
        return png(self.grid) if hasattr(self._made, "images") else None

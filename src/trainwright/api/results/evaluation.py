"""What was measured of a run on a split."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from trainwright.api.results.notebook import html_text

if TYPE_CHECKING:
    from trainwright.inference.evaluate import Evaluated


class Evaluation:
    """Metrics with their 95 % intervals; it prints itself as `runs evaluate` does."""

    def __init__(
        self, evaluated: "Evaluated", plain: Mapping[str, Any], lines: Sequence[str]
    ) -> None:
        self._evaluated, self._lines = evaluated, lines
        self.plain = dict(plain)  # all of it, as `runs evaluate --json` has it

    @property
    def metrics(self) -> dict[str, float]:
        """Each by its name."""
        return {name: measured.value for name, measured in self._evaluated.metrics.items()}

    @property
    def intervals(self) -> dict[str, tuple[float, float]]:
        """The 95 % interval of those that have one."""
        found = self._evaluated.metrics.items()
        return {name: m.interval for name, m in found if m.interval is not None}

    @property
    def num_examples(self) -> int:
        """How many were measured."""
        return self._evaluated.num_examples

    @property
    def confusion(self) -> NDArray[np.int64] | None:
        """How often each class (a row) was taken for each (C, C); None where there are none."""
        classes = self._evaluated.classes
        return None if classes is None else classes.confusion.numpy()

    def __repr__(self) -> str:
        return "\n".join(self._lines)

    def _repr_html_(self) -> str:
        return html_text(self._lines)

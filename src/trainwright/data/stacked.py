"""The batches of several runs that train together."""

from collections.abc import Sequence

import torch

from trainwright.data.batches import Batches
from trainwright.data.examples import Batch

STEPS_AT_ONCE = 32  # whose indices are found in one go


class StackedBatches:
    """The batches of K runs with the same shapes.

    Taken in one go where all have the same data in memory, and nothing is augmented; then the
    indices are found for many steps at a time.
    """

    def __init__(self, several: Sequence[Batches]) -> None:
        self._several = list(several)
        self._is_shared = all(batches.are_taken_from(several[0]) for batches in several)
        self._known = range(0)  # the steps whose indices are known
        self._indices = torch.empty(0)  # of them, (K, steps, B)

    def at(self, step: int) -> Batch:
        """The batches of a step, each column (K, B, ...)."""
        if not self._is_shared:
            parts = [batches.at(step) for batches in self._several]
            return {name: torch.stack([part[name] for part in parts]) for name in parts[0]}
        if step not in self._known:
            self._known = range(step, step + STEPS_AT_ONCE)
            of_each = [batches.indices(step, STEPS_AT_ONCE) for batches in self._several]
            self._indices = torch.stack(of_each).view(len(of_each), STEPS_AT_ONCE, -1)
        indices = self._indices[:, step - self._known.start]  # (K, B)
        taken = self._several[0].taken(indices.flatten())  # each (K * B, ...)
        return {name: t.view(*indices.shape, *t.shape[1:]) for name, t in taken.items()}

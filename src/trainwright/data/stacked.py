"""The batches of several runs that train together."""

from collections.abc import Sequence

import torch

from trainwright.data.batches import Batch, Batches

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
        """The batches of a step: inputs (K, B, ...), targets (K, B)."""
        if not self._is_shared:
            parts = [batches.at(step) for batches in self._several]
            inputs = torch.stack([part.inputs for part in parts])
            found = [part.targets for part in parts if part.targets is not None]
            return Batch(inputs, torch.stack(found) if found else None)
        if step not in self._known:
            self._known = range(step, step + STEPS_AT_ONCE)
            of_each = [batches.indices(step, STEPS_AT_ONCE) for batches in self._several]
            self._indices = torch.stack(of_each).view(len(of_each), STEPS_AT_ONCE, -1)
        indices = self._indices[:, step - self._known.start]  # (K, B)
        inputs, targets = self._several[0].taken(indices.flatten())
        return Batch(
            inputs.view(*indices.shape, *inputs.shape[1:]),
            None if targets is None else targets.view(indices.shape),
        )

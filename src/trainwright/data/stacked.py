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
        first = self._several[0]
        self._is_shared = first._read_ahead is None and all(
            b._inputs is first._inputs and b._augment is None for b in several
        )
        self._found = range(0)  # the steps whose indices are known
        self._indices = torch.empty(0)  # of them, (K, steps * B)

    def at(self, step: int) -> Batch:
        """The batches of a step: inputs (K, B, ...), targets (K, B)."""
        first, num = self._several[0], len(self._several)
        if not self._is_shared:
            parts = [batches.at(step) for batches in self._several]
            inputs = torch.stack([part.inputs for part in parts])
            found = [part.targets for part in parts if part.targets is not None]
            return Batch(inputs, torch.stack(found) if found else None)
        size = first.batch_size
        if step not in self._found:
            self._found = range(step, step + STEPS_AT_ONCE)
            of_each = [b._indices(step * size, STEPS_AT_ONCE) for b in self._several]
            self._indices = torch.stack(of_each)
        start = (step - self._found.start) * size
        batch = first._take(self._indices[:, start : start + size].flatten())
        inputs = first._in_format(batch).inputs
        targets = None if batch.targets is None else batch.targets.view(num, size)
        return Batch(inputs.view(num, size, *inputs.shape[1:]), targets)

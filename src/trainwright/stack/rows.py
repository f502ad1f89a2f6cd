"""Like tensors of several runs, moved into one, of which each becomes a row."""

from collections.abc import Iterable, Iterator, Mapping, Sequence

import torch
from torch import Tensor

from trainwright.engine.metrics.means import Shared


@torch.no_grad()
def stack_(tensors: Sequence[Tensor]) -> Tensor:
    """Move K tensors of one shape (...) into one of (K, ...), and make each a view of its row.

    A tensor stays the object that it was, so that whoever holds it (a module, an optimizer, an
    average) sees what becomes of the row; and it lies in memory as it did (fused kernels).
    """
    first = tensors[0]
    stacked = torch.empty_strided(
        (len(tensors), *first.shape),
        (first.numel(), *first.stride()),
        dtype=first.dtype,
        device=first.device,
    )
    for row, tensor in zip(stacked.unbind(), tensors, strict=True):
        row.copy_(tensor)
        tensor.data = row
    return stacked


@torch.no_grad()
def unstack_(tensors: Iterable[Tensor]) -> None:
    """Give each tensor memory of its own again, so that it does not keep all rows alive."""
    for tensor in tensors:
        tensor.data = tensor.clone()


class Row(Shared):
    """What one member has of tensors (K, ...), by name: taken out when it is asked for.

    (Most steps of most members nobody looks at.)
    """

    def __init__(self, stacked: Mapping[str, Tensor], number: int, read: list[list[float]]) -> None:
        self._stacked = stacked
        self._number = number
        self._read = read  # the numbers of all members, once one is asked

    def __getitem__(self, name: str) -> Tensor:
        return self._stacked[name][self._number]

    def __iter__(self) -> Iterator[str]:
        return iter(self._stacked)

    def __len__(self) -> int:
        return len(self._stacked)

    def numbers(self) -> list[float]:
        """The means of this member's part of each tensor."""
        if not self._read:
            means = [v if v.ndim == 1 else v.flatten(1).mean(1) for v in self._stacked.values()]
            self._read.extend(torch.stack(means, dim=1).tolist())
        return self._read[self._number]


def rows(stacked: Mapping[str, Tensor], num: int) -> list[Row]:
    """What each of `num` members has of the tensors."""
    read: list[list[float]] = []
    return [Row(stacked, number, read) for number in range(num)]

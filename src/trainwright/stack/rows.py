"""Like tensors of several runs, moved into one, of which each becomes a row."""

from collections.abc import Iterable, Iterator, Mapping, Sequence

import torch
from torch import Tensor


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


class Row(Mapping[str, Tensor]):
    """What one member has of tensors (K, ...), by name: taken out when it is asked for.

    (Most steps of most members nobody looks at.)
    """

    def __init__(self, stacked: Mapping[str, Tensor], number: int) -> None:
        self._stacked = stacked
        self._number = number

    def __getitem__(self, name: str) -> Tensor:
        return self._stacked[name][self._number]

    def __iter__(self) -> Iterator[str]:
        return iter(self._stacked)

    def __len__(self) -> int:
        return len(self._stacked)

"""What a task draws for the examples of a batch, drawn for all of it by each rank, who keep theirs.

So latents and the like are those that one process draws, whatever the number of ranks. It is so of
`torch.rand`, `randn` and `randint` where one length is that of the batch. Dropout and all else is
drawn by each rank for itself: to draw it for the rows of others would cost as much again.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch.overrides import TorchFunctionMode

_FROM_SIZES = (torch.randn, torch.rand, torch.randint)
_LIKE = {
    torch.randn_like: torch.randn,
    torch.rand_like: torch.rand,
    torch.randint_like: torch.randint,
}


class RowsOfDraws(TorchFunctionMode):
    """While this is open, what is drawn for `num_mine` rows are those of all `num_rows`.

    What each rank draws for itself comes from `seed`, which is another one for each.
    """

    def __init__(
        self, *, rank: int, size: int, num_rows: int, num_mine: int, seed: int, device: torch.device
    ) -> None:
        super().__init__()
        self._mine = slice(rank, None, size)
        self._num_rows, self._num_mine, self._seed = num_rows, num_mine, seed
        self._own = (
            torch.cuda.default_generators[device.index or 0]
            if device.type == "cuda"
            else torch.default_generator
        )
        self._common = torch.Generator(device)

    def __enter__(self) -> "RowsOfDraws":
        """What all draw alike goes on where it was; the default generator is this rank's own."""
        self._common.set_state(self._own.get_state())
        self._own.manual_seed(self._seed)
        super().__enter__()  # type: ignore[no-untyped-call]
        return self

    def __exit__(self, *error: Any) -> None:
        super().__exit__(*error)  # type: ignore[no-untyped-call]
        self._own.set_state(self._common.get_state())

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Call `func`; if it draws for the examples, for those of all ranks."""
        kwargs = dict(kwargs or {})
        if func in _LIKE:
            like, *limits = args
            kwargs = {"dtype": like.dtype, "device": like.device, **kwargs}
            kwargs.pop("memory_format", None)
            func, args = _LIKE[func], (*limits, tuple(like.shape))
        if func not in _FROM_SIZES or kwargs.get("generator") is not None:
            return func(*args, **kwargs)
        # `rand(2, 3)`, `rand((2, 3))`, `randint(9, (2, 3))`, `randint(1, 9, (2, 3))`.
        num_limits = sum(isinstance(one, int) for one in args) if func is torch.randint else 0
        limits, sizes = args[:num_limits], args[num_limits:] or kwargs.pop("size", ())
        shape = list(sizes[0] if sizes and isinstance(sizes[0], Sequence) else sizes)
        if torch.device(kwargs.get("device") or "cpu").type == self._common.device.type:
            kwargs["generator"] = self._common
        if self._num_mine not in shape:
            return func(*limits, size=shape, **kwargs)
        axis = shape.index(self._num_mine)
        shape[axis] = self._num_rows
        whole = func(*limits, size=shape, **kwargs)
        return whole[(slice(None),) * axis + (self._mine,)].contiguous()

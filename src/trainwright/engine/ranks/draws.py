"""What a task draws for the examples of a batch, drawn for all of it by each rank, who keep theirs.

So latents and the like are those that one process draws, whatever the number of ranks. It is so of
`torch.rand`, `randn` and `randint` where one length is that of the batch. Dropout and all else is
drawn by each rank for itself: to draw it for the rows of others would cost as much again.
"""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional
from torch.overrides import TorchFunctionMode

from trainwright.seeds import derive_seed

_FROM_SIZES = (torch.randn, torch.rand, torch.randint)
_LIKE = {
    torch.randn_like: torch.randn,
    torch.rand_like: torch.rand,
    torch.randint_like: torch.randint,
}
_OWN = {
    functional.dropout, functional.dropout1d, functional.dropout2d, functional.dropout3d,
    functional.alpha_dropout, functional.feature_alpha_dropout, functional.gumbel_softmax,
    functional.rrelu, functional.scaled_dot_product_attention, torch.bernoulli, torch.normal,
    torch.multinomial, torch.poisson, torch.randperm, torch.Tensor.bernoulli,
    torch.Tensor.bernoulli_, torch.Tensor.normal_, torch.Tensor.uniform_, torch.Tensor.random_,
    torch.Tensor.exponential_, torch.Tensor.multinomial,
}  # fmt: skip


class RowsOfDraws(TorchFunctionMode):
    """While this is open, what is drawn for `num_mine` rows are those of all `num_rows`.

    What each rank draws for itself comes from `seed`, which is another one for each.
    """

    def __init__(
        self, *, rank: int, size: int, num_rows: int, num_mine: int, seed: int, device: torch.device
    ) -> None:
        super().__init__()
        self._rank, self._size = rank, size
        self._num_rows, self._num_mine = num_rows, num_mine
        self._seed, self._num_own = seed, 0
        self._generator = (
            torch.cuda.default_generators[device.index or 0]
            if device.type == "cuda"
            else torch.default_generator
        )

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Call `func`; if it draws, for all rows or for this rank alone."""
        kwargs = kwargs or {}
        if kwargs.get("generator") is not None:
            return func(*args, **kwargs)
        if func in _LIKE:
            like = args[0]
            kwargs = {"dtype": like.dtype, "device": like.device, **kwargs}
            kwargs.pop("memory_format", None)
            return self._drawn(_LIKE[func], args[1:], tuple(like.shape), kwargs)
        if func in _FROM_SIZES:
            return self._from_sizes(func, args, kwargs)
        if func in _OWN:
            return self._own(lambda: func(*args, **kwargs))
        return func(*args, **kwargs)

    def _from_sizes(self, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """`rand(2, 3)`, `rand((2, 3))`, `randint(9, (2, 3))`, `randint(1, 9, (2, 3))`."""
        num_limits = 0
        if func is torch.randint:
            num_limits = sum(isinstance(argument, int) for argument in args)
        limits, sizes = args[:num_limits], args[num_limits:]
        shape = sizes[0] if sizes and isinstance(sizes[0], Sequence) else sizes
        if not shape:
            return func(*args, **kwargs)
        return self._drawn(func, limits, tuple(shape), kwargs)

    def _drawn(
        self, func: Any, limits: tuple[int, ...], shape: tuple[int, ...], kwargs: dict[str, Any]
    ) -> Any:
        if self._num_mine not in shape:
            return func(*limits, size=shape, **kwargs)
        axis = shape.index(self._num_mine)
        whole = (*shape[:axis], self._num_rows, *shape[axis + 1 :])
        mine = [slice(None)] * axis + [slice(self._rank, None, self._size)]
        return func(*limits, size=whole, **kwargs)[tuple(mine)].contiguous()

    def _own(self, draw: Callable[[], Tensor]) -> Tensor:
        """What only this rank draws; what all draw alike goes on where it was."""
        before = self._generator.get_state()
        self._generator.manual_seed(derive_seed(self._seed, self._num_own))
        self._num_own += 1
        try:
            return draw()
        finally:
            self._generator.set_state(before)

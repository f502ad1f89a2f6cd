"""What members of a stack draw at random: each what it would draw alone, from its own seed."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional
from torch.overrides import TorchFunctionMode

from trainwright.seeds import generator_for
from trainwright.stack.slopes import leaf, slope


class Each(tuple[float, ...]):
    """A number of which each member has its own, where the network expects one."""


class Draws(TorchFunctionMode):
    """While this is open, what one function draws under `vmap` is drawn for each member apart.

    Alone, a run seeds torch's generator before each step and then draws from it. Here each member
    has such a generator of its own, with the same seed, and the draws come in the same order.
    `lane` must be set, within `vmap`, to the number of the member.
    """

    def __init__(self, seeds: Sequence[int], step: int, device: torch.device) -> None:
        super().__init__()
        self.lane: Tensor | None = None
        self._make = lambda: [generator_for(s, "step", step, device=device) for s in seeds]
        self._generators: list[torch.Generator] | None = None

    def __torch_function__(
        self,
        func: Any,
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        """Call `func`; if it draws, for each member."""
        kwargs = kwargs or {}
        if func is functional.dropout:
            return self._dropout(*args, **kwargs)
        if func in _FROM_SIZES and kwargs.get("generator") is None:
            return self._drawn(lambda generator: func(*args, **{**kwargs, "generator": generator}))
        if func in _LIKE:
            like = args[0]
            place = {"dtype": like.dtype, "device": like.device, **kwargs}
            plain = _LIKE[func]
            return self._drawn(lambda generator: plain(like.shape, generator=generator, **place))
        if func is functional.cross_entropy and isinstance(kwargs.get("label_smoothing"), Each):
            return self._smoothed(*args, **kwargs)
        if func is torch.Tensor.requires_grad_:
            return leaf(*args, **kwargs)
        if func is torch.autograd.grad:
            return slope(*args, **kwargs)
        return func(*args, **kwargs)

    def _dropout(
        self, inputs: Tensor, p: float | Each = 0.5, training: bool = True, inplace: bool = False
    ) -> Tensor:
        """What torch does on a CPU, where the mask is drawn by `bernoulli_`."""
        if not training or p == 0:
            return inputs
        shape, dtype, device = inputs.shape, inputs.dtype, inputs.device
        rates = p if isinstance(p, Each) else Each([p] * len(self._made()))
        masks = [
            torch.empty(shape, dtype=dtype, device=device)
            .bernoulli_(1 - rate, generator=generator)
            .div_(1 - rate)
            for rate, generator in zip(rates, self._made(), strict=True)
        ]
        return inputs * self._of_lane(masks)

    def _smoothed(
        self, logits: Tensor, targets: Tensor, *, label_smoothing: Each, **others: Any
    ) -> Tensor:
        """Mean cross-entropy with a share of the target spread over all classes, as torch does."""
        share = self._of_lane([torch.tensor(s, device=logits.device) for s in label_smoothing])
        spread = -logits.log_softmax(dim=1).mean()
        return (1 - share) * functional.cross_entropy(logits, targets, **others) + share * spread

    def _drawn(self, draw: Callable[[torch.Generator], Tensor]) -> Tensor:
        return self._of_lane([draw(generator) for generator in self._made()])

    def _made(self) -> list[torch.Generator]:
        if self._generators is None:
            self._generators = self._make()  # type: ignore[no-untyped-call]
        return self._generators

    def _of_lane(self, members: Sequence[Tensor]) -> Tensor:
        """Of one tensor for each member that of the member at hand, under `vmap`."""
        assert self.lane is not None
        return torch.stack(list(members))[self.lane]


_FROM_SIZES = (torch.randn, torch.rand, torch.randint)
_LIKE = {torch.randn_like: torch.randn, torch.rand_like: torch.rand}

"""What members of a stack draw at random: each what it would draw alone, from its own seed."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional
from torch.overrides import TorchFunctionMode

from trainwright.seeds import derive_seed
from trainwright.stack.slopes import leaf, slope


class PerMember:
    """Stands where a network or a task has a number, of which each member has its own."""

    def __init__(self, numbers: Sequence[float], draws: "Draws") -> None:
        self.numbers = tuple(numbers)
        self._draws = draws

    def __mul__(self, other: Any) -> Any:
        """Times a number, or times a loss: that of the member at hand."""
        if isinstance(other, Tensor):
            return self._draws.at_hand(self.numbers) * other
        return PerMember([number * other for number in self.numbers], self._draws)

    __rmul__ = __mul__

    def __truediv__(self, other: float) -> "PerMember":
        return PerMember([number / other for number in self.numbers], self._draws)


class Draws(TorchFunctionMode):
    """While this is open, what one function draws under `vmap` is drawn for each member apart.

    Alone, a run seeds torch's generator before each step and then draws from it. Here each member
    has such a generator of its own, with the same seed, and the draws come in the same order.
    `lane` must be set, within `vmap`, to the number of the member; it is None where all are called
    at once.
    """

    def __init__(self, seeds: Sequence[int], device: torch.device) -> None:
        super().__init__()
        self.lane: Tensor | None = None
        self._seeds = list(seeds)
        self._device = device
        self._generators = [torch.Generator(device) for _ in seeds]
        self._step = 0
        self._is_seeded = False

    def begin(self, step: int) -> None:
        """From now on draw what is drawn in this step."""
        self._step, self._is_seeded = step, False

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
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
        if func is functional.cross_entropy and isinstance(
            kwargs.get("label_smoothing"), PerMember
        ):
            return self._smoothed(*args, **kwargs)
        if func is torch.Tensor.requires_grad_:
            return leaf(*args, **kwargs)
        if func is torch.autograd.grad:
            return slope(*args, **kwargs)
        return func(*args, **kwargs)

    def masks(
        self, shape: Sequence[int], dtype: torch.dtype, device: torch.device, p: float | PerMember
    ) -> Tensor:
        """By what dropout multiplies the activations of all members, (K, *shape).

        Drawn by `bernoulli_`, as torch does on a CPU.
        """
        rates = p.numbers if isinstance(p, PerMember) else (p,) * len(self._seeds)
        masks = torch.empty((len(rates), *shape), dtype=dtype, device=device)
        for mask, rate, generator in zip(masks.unbind(), rates, self._seeded(), strict=True):
            mask.bernoulli_(1 - rate, generator=generator).div_(1 - rate)
        return masks

    def _dropout(
        self,
        inputs: Tensor,
        p: float | PerMember = 0.5,
        training: bool = True,
        inplace: bool = False,
    ) -> Tensor:
        if not training or p == 0:
            return inputs
        return inputs * self._of_lane(self.masks(inputs.shape, inputs.dtype, inputs.device, p))

    def _smoothed(
        self, logits: Tensor, targets: Tensor, *, label_smoothing: PerMember, **others: Any
    ) -> Tensor:
        """Cross-entropy with a share of the target spread over all classes, as torch does."""
        share = self.at_hand(label_smoothing.numbers)
        spread = -logits.log_softmax(dim=1).mean(dim=1)
        if others.get("reduction", "mean") == "mean":
            spread = spread.mean()
        return (1 - share) * functional.cross_entropy(logits, targets, **others) + share * spread

    def at_hand(self, numbers: Sequence[float]) -> Tensor:
        """Of a number for each member that of the one at hand, or (K,) where all are at once."""
        of_all = torch.tensor(numbers, device=self._device)
        return of_all if self.lane is None else self._of_lane(of_all)

    def _drawn(self, draw: Callable[[torch.Generator], Tensor]) -> Tensor:
        return self._of_lane(torch.stack([draw(generator) for generator in self._seeded()]))

    def _seeded(self) -> list[torch.Generator]:
        if not self._is_seeded:
            for seed, generator in zip(self._seeds, self._generators, strict=True):
                generator.manual_seed(derive_seed(seed, "step", self._step))
            self._is_seeded = True
        return self._generators

    def _of_lane(self, members: Tensor) -> Tensor:
        """Of what all members have, (K, ...), that of the member at hand, under `vmap`."""
        assert self.lane is not None
        return members[self.lane]


_FROM_SIZES = (torch.randn, torch.rand, torch.randint)
_LIKE = {torch.randn_like: torch.randn, torch.rand_like: torch.rand}

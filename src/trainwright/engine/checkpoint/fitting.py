"""Whether the tensors of a checkpoint are those of a network, by name, shape and type."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

from trainwright.errors import CheckpointError
from trainwright.wording import printable

# What may be made of each tensor of a file while its network is built: spectral normalisation
# makes some fifty on the way. The rest is for a network that keeps nothing.
MADE_OF_ONE, MADE_OF_NONE, NUMBERS_OF_NONE = 64, 1000, 2**24


class Room(TorchFunctionMode):
    """Stops, with a CheckpointError, who builds more than the tensors of a file could fill.

    It counts the tensors that are made and the numbers in them while it is open; every layer of
    ours that can be had any number of times makes one. On torch's meta device nothing is allocated
    meanwhile, whatever a config asks for.
    """

    def __init__(self, found: Mapping[str, Tensor]) -> None:
        super().__init__()
        self._tensors = MADE_OF_NONE + MADE_OF_ONE * len(found)
        self._numbers = NUMBERS_OF_NONE + MADE_OF_ONE * sum(t.numel() for t in found.values())

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Call `func`, and count what it makes."""
        kwargs = kwargs or {}
        if func in (torch.arange, torch.linspace):  # on the CPU, wherever the network is built
            self._spend(0, _length(func, args, kwargs))
        made = func(*args, **kwargs)
        if isinstance(made, Tensor):
            self._spend(1, made.numel())
        return made

    def _spend(self, tensors: int, numbers: int) -> None:
        self._tensors -= tensors
        self._numbers -= numbers
        if min(self._tensors, self._numbers) < 0:
            raise CheckpointError(
                "the checkpoint's config describes more than its tensors could fill"
            )


def _length(func: Any, args: Any, kwargs: Mapping[str, Any]) -> Any:
    """How many numbers `torch.arange` or `torch.linspace` is asked for."""
    names = ("end",) if len(args) == 1 else ("start", "end", "step")
    asked = {"start": 0, "step": 1, **dict(zip(names, args, strict=False)), **kwargs}
    if func is torch.linspace:
        return asked.get("steps", asked["step"])
    return (asked["end"] - asked["start"]) // (asked["step"] or 1)


def check_fit(expected: Mapping[str, Tensor], found: Mapping[str, Tensor]) -> None:
    """Raise ValueError that names a tensor which is missing, too many, or of another kind.

    Only names, shapes and types are looked at: `expected` may be on torch's meta device.
    """
    for name, tensor in found.items():
        shown = printable(name)[:100]
        if name not in expected:
            raise ValueError(f"{shown} is not a tensor of the network")
        wanted = expected[name]
        if tensor.shape != wanted.shape:
            raise ValueError(f"{shown} is {tuple(tensor.shape)} and not {tuple(wanted.shape)}")
        if tensor.dtype != wanted.dtype:
            raise ValueError(f"{shown} is {tensor.dtype} and not {wanted.dtype}")
    missing = [name for name in expected if name not in found]
    if missing:
        raise ValueError(f"{missing[0]} is missing")

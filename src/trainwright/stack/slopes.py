"""Gradients within a loss (the penalties of GANs), which `vmap` refuses to lead autograd through.

Autograd runs around `vmap`, on the tensors of all members: so what a loss asks of it is done there.
Who is not in another's inputs has no gradient there either, and the sum over all is harmless.
"""

from typing import Any

import torch
from torch import Tensor


def leaf(inputs: Tensor) -> Tensor:
    """What `Tensor.requires_grad_` does."""
    found: Tensor = _Leaf.apply(inputs)  # type: ignore[no-untyped-call]
    return found


def slope(
    outputs: Tensor | tuple[Tensor], inputs: Tensor | tuple[Tensor], **options: Any
) -> tuple[Tensor]:
    """What `torch.autograd.grad` does for a scalar of one tensor, with `create_graph` alone."""
    (output,) = (outputs,) if isinstance(outputs, Tensor) else outputs
    (point,) = (inputs,) if isinstance(inputs, Tensor) else inputs
    create_graph = options.pop("create_graph", False)
    for has_no_effect in ("retain_graph", "only_inputs"):
        options.pop(has_no_effect, None)
    if any(options.values()):
        raise NotImplementedError("this way of asking for a gradient within a loss")
    found: Tensor = _Slope.apply(output, point, create_graph)  # type: ignore[no-untyped-call]
    return (found,)


class AroundVmap(torch.autograd.Function):
    """A function whose `vmap` is given what all members have; autograd runs around it."""

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        """Nothing is kept: there is no backward pass through this."""


class _Leaf(AroundVmap):
    @staticmethod
    def forward(inputs: Tensor) -> Tensor:
        return inputs.requires_grad_()

    @staticmethod
    def vmap(
        info: Any, in_dims: tuple[int | None, ...], inputs: Tensor
    ) -> tuple[Tensor, int | None]:
        return inputs.detach().requires_grad_(), in_dims[0]


class _Slope(AroundVmap):
    @staticmethod
    def forward(outputs: Tensor, inputs: Tensor, create_graph: bool) -> Tensor:
        return torch.autograd.grad(outputs, inputs, create_graph=create_graph)[0]

    @staticmethod
    def vmap(
        info: Any,
        in_dims: tuple[int | None, ...],
        outputs: Tensor,
        inputs: Tensor,
        create_graph: bool,
    ) -> tuple[Tensor, int | None]:
        (found,) = torch.autograd.grad(outputs.sum(), inputs, create_graph=create_graph)
        return found, in_dims[1]

"""Layers of all members computed at once, by hand, where `vmap` would be slow or refuse.

`vmap` costs as much Python for every call of torch as a small product of matrices takes, gives
the gradients of dense layers transposed, where the optimizer wants them laid out as the weights,
and refuses batch normalisation in bf16. So layers one after the other become a `Chain`: `vmap`
calls it once, and it computes with the tensors of all members, (K, ...), as ordinary autograd.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import groupby
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from trainwright.stack.draws import Draws
from trainwright.stack.slopes import AroundVmap

Held = Mapping[str, Tensor]  # what a layer holds, of all members, by its name in the layer
Step = Callable[[Tensor], Tensor]  # maps what all members have computed so far, (K, B, ...)


def by_hand(network: nn.Module, tensors: Mapping[str, Tensor], draws: Draws) -> set[str]:
    """Put chains in the place of the layers that can be stacked by hand.

    `tensors`: parameters and buffers of all members (K, ...), by their names in the network.
    Returns the names of those that chains now hold.
    """
    taken: set[str] = set()
    for prefix, parent in list(network.named_modules()):
        for names in _neighbours(parent):
            layers: list[tuple[nn.Module, Held]] = []
            for name in names:
                start = f"{prefix}.{name}." if prefix else f"{name}."
                held = {k.removeprefix(start): k for k in tensors if k.startswith(start)}
                taken.update(held.values())
                layers.append((getattr(parent, name), {k: tensors[v] for k, v in held.items()}))
            setattr(parent, names[0], Chain(list(_steps(layers, draws)), draws))
            for name in names[1:]:
                delattr(parent, name)
    return taken


def _neighbours(parent: nn.Module) -> Iterable[list[str]]:
    """The names of children that make a chain, which has to be worth its call by `vmap`."""
    children = dict(parent.named_children())
    if type(parent) is nn.Sequential:
        runs = [list(run) for _, run in groupby(children, lambda name: _is_known(children[name]))]
    else:
        runs = [[name] for name in children]
    for run in runs:
        dear = (nn.Linear, nn.BatchNorm1d, nn.BatchNorm2d)
        if _is_known(children[run[0]]) and any(isinstance(children[name], dear) for name in run):
            yield run


class Chain(nn.Module):
    """Layers of all members one after the other."""

    def __init__(self, steps: Sequence[Step], draws: Draws) -> None:
        super().__init__()
        self._steps = steps
        self._draws = draws

    def forward(self, inputs: Tensor) -> Tensor:
        """Map the inputs of all members (K, B, ...), or of one (B, ...) as `vmap` sees it."""
        if self._draws.lane is None:
            return self.together(inputs)
        outputs: Tensor = _AllAtOnce.apply(inputs, self)  # type: ignore[no-untyped-call]
        return outputs

    def together(self, inputs: Tensor) -> Tensor:
        """Map the inputs of all members (K, B, ...)."""
        for step in self._steps:
            inputs = step(inputs)
        return inputs


class _AllAtOnce(AroundVmap):
    """What leads from one member, under `vmap`, to all: autograd runs around it."""

    @staticmethod
    def forward(inputs: Tensor, chain: Chain) -> Tensor:
        raise AssertionError("a chain is called under vmap alone")

    @staticmethod
    def vmap(
        info: Any, in_dims: tuple[int | None, ...], inputs: Tensor, chain: Chain
    ) -> tuple[Tensor, int]:
        axis = in_dims[0]
        assert axis is not None
        return chain.together(inputs.movedim(axis, 0)), 0


def _steps(layers: Sequence[tuple[nn.Module, Held]], draws: Draws) -> Iterable[Step]:
    """What each layer does; a dense one and the ReLU behind it are one step."""
    ahead = list(layers)
    while ahead:
        layer, held = ahead.pop(0)
        if type(layer) is not nn.Linear:
            yield _KINDS[type(layer)](layer, held, draws)
            continue
        has_relu = bool(ahead) and type(ahead[0][0]) is nn.ReLU
        if has_relu:
            ahead.pop(0)
        yield _linear(held, has_relu)


def _linear(held: Held, has_relu: bool) -> Step:
    weights, biases = held["weight"], held.get("bias")

    def step(inputs: Tensor) -> Tensor:
        tensors: tuple[Tensor | None, ...] = (inputs, weights, biases)
        kind = inputs.device.type
        if torch.is_autocast_enabled(kind):
            lower = torch.get_autocast_dtype(kind)
            tensors = tuple(None if t is None else t.to(lower) for t in tensors)
        with torch.autocast(kind, enabled=False):
            outputs: Tensor = _Affine.apply(*tensors, has_relu)  # type: ignore[no-untyped-call]
        return outputs

    return step


class _Affine(torch.autograd.Function):
    """inputs (K, B, in), weights (K, out, in) and biases (K, out) to (K, B, out), then ReLU or not.

    Each product, also for the gradients, is the one that torch makes of a dense layer alone: with
    them in this order most members come out to the bit as they do alone.
    """

    @staticmethod
    def forward(
        ctx: Any, inputs: Tensor, weights: Tensor, biases: Tensor | None, has_relu: bool
    ) -> Tensor:
        if biases is None:
            outputs = torch.bmm(inputs, weights.mT)
        else:
            outputs = torch.baddbmm(biases.unsqueeze(1), inputs, weights.mT)
        if has_relu:
            outputs.relu_()
        ctx.save_for_backward(inputs, weights, outputs if has_relu else None)
        return outputs

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        inputs, weights, rectified = ctx.saved_tensors
        if rectified is not None:
            gradient = torch.ops.aten.threshold_backward(gradient, rectified, 0)
        of_inputs, of_weights, of_biases, _ = ctx.needs_input_grad
        return (
            torch.bmm(gradient, weights) if of_inputs else None,
            torch.bmm(gradient.mT, inputs) if of_weights else None,
            gradient.sum(dim=1) if of_biases else None,
            None,
        )


def _batch_norm(layer: nn.BatchNorm1d | nn.BatchNorm2d, held: Held, draws: Draws) -> Step:
    """By the statistics of each member's own batch: one of K times as many channels."""
    names = ("running_mean", "running_var", "weight", "bias")
    momentum, eps = layer.momentum, layer.eps
    assert momentum is not None

    def normalised(inputs: Tensor) -> Tensor:
        mean, var, weight, bias = (held[name].view(-1) for name in names)  # (K * C)
        return functional.batch_norm(inputs, mean, var, weight, bias, True, momentum, eps)

    def step(inputs: Tensor) -> Tensor:
        held["num_batches_tracked"].add_(1)
        apart = inputs.movedim(0, 1)  # (B, K, C, ...)
        return normalised(apart.flatten(1, 2)).view(apart.shape).movedim(1, 0)

    return step


def _layer_norm(layer: nn.LayerNorm, held: Held, draws: Draws) -> Step:
    """Over each example's features, with the gain and bias (K, F) of its member."""

    def step(inputs: Tensor) -> Tensor:
        gain, bias = (held[name].unsqueeze(1) for name in ("weight", "bias"))  # (K, 1, F)
        plain = functional.layer_norm(inputs.float(), layer.normalized_shape, eps=layer.eps)
        return torch.addcmul(bias, plain, gain).to(inputs.dtype)

    return step


def _dropout(layer: nn.Dropout, held: Held, draws: Draws) -> Step:
    def step(inputs: Tensor) -> Tensor:
        _, *shape = inputs.shape
        return inputs * draws.masks(shape, inputs.dtype, inputs.device, layer.p)

    return step


_ELEMENTWISE = (nn.ReLU, nn.LeakyReLU, nn.GELU, nn.SiLU, nn.Sigmoid, nn.Tanh)
_KINDS: dict[type[nn.Module], Callable[[Any, Held, Draws], Step]] = {  # beside dense layers
    nn.BatchNorm1d: _batch_norm,
    nn.BatchNorm2d: _batch_norm,
    nn.LayerNorm: _layer_norm,
    nn.Flatten: lambda layer, held, draws: lambda inputs: inputs.flatten(2),
    nn.Dropout: _dropout,
    **dict.fromkeys(_ELEMENTWISE, lambda layer, held, draws: layer),
}


def _is_known(layer: nn.Module) -> bool:
    if type(layer) not in (nn.Linear, *_KINDS):
        return False
    match layer:
        case nn.BatchNorm1d() | nn.BatchNorm2d():
            return layer.affine and layer.track_running_stats and layer.momentum is not None
        case nn.LayerNorm():
            return len(layer.normalized_shape) == 1 and layer.bias is not None
        case nn.Flatten():
            return (layer.start_dim, layer.end_dim) == (1, -1)
    return True

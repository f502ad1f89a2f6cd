"""How much each part of an example adds to what is said of it: by slopes, and by taking it away."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from trainwright.errors import ConfigError
from trainwright.inference.explain.asked import Asked
from trainwright.inference.explain.subjects import Picture, Subject, Words, at_once

STEPS = 64
AT_ONCE = 32  # steps at most whose slopes are found together
WINDOWS = 7  # that lie side by side along the shorter side of an image

Score = Callable[[Tensor], Tensor]  # (B, ...) to (B,)


def integrated_gradients(score: Score, x: Tensor, base: Tensor, *, steps: int = STEPS) -> Tensor:
    """What each number of x (1, ...) adds to its score, over that of `base`; like x[0].

    Sundararajan et al. 2017, "Axiomatic attribution for deep networks": they sum to the difference
    of the two scores, but for what `steps` nodes of Gauss and Legendre miss of the integral.
    """
    nodes, weights = (torch.from_numpy(n).to(x) for n in np.polynomial.legendre.leggauss(steps))
    shape = (-1, *(1 for _ in x.shape[1:]))
    mean = torch.zeros_like(x[0])
    size = min(AT_ONCE, at_once(x))
    for node, weight in zip(*(torch.split(n, size) for n in (nodes, weights)), strict=True):
        points = base + (node.view(shape) + 1) / 2 * (x - base)
        slopes = _slopes(score, points)
        mean += (slopes * weight.view(shape) / 2).sum(0)
    return mean * (x - base)[0]


def _slopes(score: Score, points: Tensor) -> Tensor:
    points = points.detach().requires_grad_()
    (slopes,) = torch.autograd.grad(score(points).sum(), points)
    return slopes


def taken_away(subject: Subject, asked: Asked, groups: Tensor) -> Tensor:
    """By how much the score falls without a part, the mean over the groups that it is in; (P,).

    `groups` (M, P) bool are taken away one by one (Zeiler and Fergus 2014, "Visualizing and
    understanding convolutional networks", with windows of an image).
    """
    falls = subject.score(asked) - subject.scores(asked, ~groups)
    is_in = groups.to(falls.dtype)
    return falls @ is_in / is_in.sum(0).clamp(min=1)


def grad_cam(score: Score, layer: nn.Module, x: Tensor) -> Tensor:
    """Where in x (1, C, H, W) the maps of a layer speak for the score, (H, W), at least 0.

    Selvaraju et al. 2017, "Grad-CAM": the maps' sum, each times its mean slope, without what is
    below 0, brought to the size of x.
    """
    kept: list[Tensor] = []
    hook = layer.register_forward_hook(lambda *call: kept.append(call[2]))
    try:
        # (Of x, since a network that is frozen has no other slopes.)
        total = score(x.detach().requires_grad_()).sum()
    finally:
        hook.remove()
    maps = kept[-1]
    (slopes,) = torch.autograd.grad(total, maps)
    found = (slopes.mean((2, 3), keepdim=True) * maps).sum(1, keepdim=True).relu().detach()
    size = (x.shape[2], x.shape[3])
    return functional.interpolate(found, size=size, mode="bilinear", align_corners=False)[0, 0]


def last_convolution(network: nn.Module) -> nn.Module | None:
    """The layer whose maps Grad-CAM weighs: the last convolution that sees neighbours."""
    layers = [m for m in network.modules() if isinstance(m, nn.Conv2d)]
    return next((m for m in reversed(layers) if max(m.kernel_size) > 1), None)


def windows(size: tuple[int, int]) -> Tensor:
    """Overlapping windows of an image of that size, (M, H * W) bool."""
    side = max(1, round(min(size) / WINDOWS))
    starts = [sorted({*range(0, n - side, max(1, side // 2)), n - side}) for n in size]
    masks = [
        torch.zeros(size, dtype=torch.bool).index_fill_(0, torch.arange(side) + top, True)
        & torch.zeros(size, dtype=torch.bool).index_fill_(1, torch.arange(side) + left, True)
        for top in starts[0]
        for left in starts[1]
    ]
    return torch.stack(masks).flatten(1)


def of_pixels(picture: Picture, asked: Asked) -> Tensor:
    """Integrated gradients of each pixel, all its channels together, (H * W,)."""
    found = integrated_gradients(
        lambda x: asked.score({picture.name: x}), picture.pixels, picture.base
    )
    return found.sum(0).flatten().cpu()


def of_windows(picture: Picture, asked: Asked) -> Tensor:
    """By how much the score falls without the windows that a pixel is in, (H * W,)."""
    return taken_away(picture, asked, windows(picture.shape))


def of_maps(picture: Picture, asked: Asked) -> Tensor:
    """Grad-CAM, (H * W,)."""
    layer = last_convolution(asked.task)
    assert layer is not None
    return grad_cam(lambda x: asked.score({picture.name: x}), layer, picture.pixels).flatten().cpu()


def of_tokens(words: Words, asked: Asked) -> Tensor:
    """Integrated gradients of what stands for each token, from the mean of the text's on, (P,).

    (Not from 0: behind a normalisation that is an abyss, and no number of steps sees its edge.)
    Raises ConfigError where no embedding is found.
    """
    table = next((m for m in asked.task.modules() if isinstance(m, nn.Embedding)), None)
    if table is None:
        raise ConfigError("this run cannot be explained: its network has no nn.Embedding of tokens")
    with torch.no_grad():
        embedded = table(words.tokens.clamp(min=0))  # (1, T, W)

    def score(vectors: Tensor) -> Tensor:
        with _instead(table, vectors):
            return asked.score({words.name: words.tokens.expand(len(vectors), -1)})

    base = embedded[:, : words.num_parts].mean(1, keepdim=True).expand_as(embedded)
    found = integrated_gradients(score, embedded, base)
    return found.sum(1)[: words.num_parts].cpu()


def of_absence(words: Words, asked: Asked) -> Tensor:
    """By how much the score falls without each token, (P,)."""
    return taken_away(words, asked, torch.eye(words.num_parts, dtype=torch.bool))


@contextmanager
def _instead(layer: nn.Module, outputs: Tensor) -> Iterator[None]:
    """The layer puts out these, whatever it is given."""
    hook = layer.register_forward_hook(lambda *call: outputs)
    try:
        yield
    finally:
        hook.remove()

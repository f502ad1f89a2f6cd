"""A U-Net that says how every pixel is to move, sized from the images."""

import itertools
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from trainwright.nn.generators.velocity import Conditional, Velocity, begin_small, conditions
from trainwright.nn.layers import check_dropout, check_positive, image_size

MIN_SIDE = 4  # of the smallest map
MAX_WIDENING = 4  # channels double where the map halves, up to this many times the width
PATCHED_FROM = 16  # pixels of the shorter side, from which on four become one place
HEAD = 32  # channels of an attention head, at most


class UNet(Velocity):
    """After Ronneberger et al. 2015 (arXiv:1505.04597), with the blocks of Ho et al. 2020.

    Images whose shorter side has 16 pixels or more are cut into patches of 2x2 first: convolutions
    at full size would take most of the time, and see least. Maps are halved while their shorter
    side then has 4 or more; what comes back up is added to what went down, cut to its size, so
    that sides may be odd. Where the longer side has at most `attention` places, blocks are
    followed by attention between all of them.
    """

    def __init__(
        self,
        *,
        input_shape: tuple[int, ...],
        num_classes: int,
        width: int = 32,
        blocks: int = 1,
        attention: int = 8,
        dropout: float = 0.0,
        conditional: Conditional = "auto",
        checkpoint_blocks: bool = False,
    ) -> None:
        if len(input_shape) == 1:
            raise ValueError(
                f"flow takes images (C, H, W), not rows of {input_shape[0]} numbers; "
                "for these use model=mlp_flow"
            )
        channels, *sides = image_size("flow", input_shape, minimum=2)
        check_positive(width=width, blocks=blocks)
        check_dropout(dropout)
        if attention < 0:
            raise ValueError(f"attention={attention} is below 0")
        num_context = 4 * width
        super().__init__(input_shape, conditions(conditional, num_classes), num_context)
        self.patch, widths, sizes = halved((sides[0], sides[1]), width)
        small = [max(size) <= attention for size in sizes]

        def stage(width: int, is_small: bool) -> nn.ModuleList:
            return nn.ModuleList(
                Block(width, num_context, dropout, is_small, checkpoint_blocks)
                for _ in range(blocks)
            )

        pixels = channels * self.patch**2
        self.into = nn.Conv2d(pixels, width, 3, padding=1)
        self.down = nn.ModuleList(map(stage, widths, small))
        self.shrink = nn.ModuleList(nn.Conv2d(a, b, 2, 2) for a, b in itertools.pairwise(widths))
        self.grow = nn.ModuleList(nn.Conv2d(b, a, 1) for a, b in itertools.pairwise(widths))
        self.up = nn.ModuleList(map(stage, widths, small))
        self.norm = group_norm(width)
        self.out = nn.Conv2d(width, pixels, 3, padding=1)
        begin_small(self.out)

    def forward(
        self,
        points: Tensor,
        times: Tensor,
        classes: Tensor | None = None,
        lengths: Tensor | None = None,
    ) -> Tensor:
        """Map images (B, C, H, W) at times (B,), of classes (B,), to velocities (B, C, H, W).

        Lengths (B,) of the steps: see `Velocity`.
        """
        context = self.context(times, classes, lengths)
        height, width = points.shape[2:]
        maps = even(points, self.patch)
        maps = self.into(functional.pixel_unshuffle(maps, self.patch))
        passed: list[Tensor] = []
        for level, stage in enumerate(self.down):
            if level:
                maps = self.shrink[level - 1](even(maps, 2))
            maps = _through(stage, maps, context)
            passed.append(maps)
        for level in reversed(range(len(passed))):
            if level + 1 < len(passed):
                maps = functional.interpolate(self.grow[level](maps), scale_factor=2.0)
                rows, columns = passed[level].shape[2:]
                maps = passed[level] + maps[:, :, :rows, :columns]
            maps = _through(self.up[level], maps, context)
        maps = self.out(functional.silu(self.norm(maps)))
        return functional.pixel_shuffle(maps, self.patch)[:, :, :height, :width]

    def hidden_weights(self) -> list[nn.Parameter]:
        """All but those of its two ends and of what it is told, for Muon."""
        inside = (self.down, self.shrink, self.grow, self.up)
        return [p for stage in inside for p in stage.parameters() if p.dim() >= 2]


class Block(nn.Module):
    """Two convolutions with a gain and a bias by context between them, added to what comes in."""

    def __init__(
        self, width: int, num_context: int, dropout: float, attends: bool, checkpoints: bool
    ) -> None:
        super().__init__()
        self.first, self.second = (nn.Conv2d(width, width, 3, padding=1) for _ in range(2))
        self.norm1, self.norm2 = group_norm(width), group_norm(width)
        self.modulation = nn.Linear(num_context, 2 * width)
        self.dropout = nn.Dropout(dropout) if dropout else nn.Identity()
        self.attention = Attention(width) if attends else None
        self._checkpoints = checkpoints
        begin_small(self.second)

    def forward(self, maps: Tensor, context: Tensor) -> Tensor:
        """Map (B, C, H, W) and a context (B, D) to (B, C, H, W)."""
        if self._checkpoints and torch.is_grad_enabled():
            from torch.utils.checkpoint import checkpoint

            again: Tensor = checkpoint(self._changed, maps, context, use_reentrant=False)
            return again
        return self._changed(maps, context)

    def _changed(self, maps: Tensor, context: Tensor) -> Tensor:
        gain, bias = self.modulation(context)[:, :, None, None].chunk(2, dim=1)
        inner = self.first(functional.silu(self.norm1(maps)))
        inner = torch.addcmul(bias, self.norm2(inner), 1 + gain)
        maps = maps + self.second(self.dropout(functional.silu(inner)))
        return maps if self.attention is None else maps + self.attention(maps)


class Attention(nn.Module):
    """Attention of every place of a map to all others, in heads of at most 32 channels."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.num_heads = max(n for n in range(1, max(1, width // HEAD) + 1) if width % n == 0)
        self.norm = group_norm(width)
        self.questions = nn.Linear(width, 3 * width)
        self.out = nn.Linear(width, width)
        begin_small(self.out)

    def forward(self, maps: Tensor) -> Tensor:
        """Map (B, C, H, W) to what is to be added to it, (B, C, H, W)."""
        size = maps.shape
        places = self.norm(maps).flatten(2).transpose(1, 2)  # (B, HW, C)
        asked = self.questions(places)  # (B, HW, 3C)
        parts = asked.view(*asked.shape[:2], 3, self.num_heads, -1)
        q, k, v = parts.permute(2, 0, 3, 1, 4)  # each (B, heads, HW, C / heads)
        found = functional.scaled_dot_product_attention(q, k, v)
        mixed: Tensor = self.out(found.transpose(1, 2).flatten(2))  # (B, HW, C)
        return mixed.transpose(1, 2).reshape(size)


def halved(sides: tuple[int, int], width: int) -> tuple[int, list[int], list[tuple[int, int]]]:
    """The side of a patch, and the widths and sizes of maps that are halved one after the other."""
    patch = 2 if min(sides) >= PATCHED_FROM else 1
    widths, sizes = [width], [(-(-sides[0] // patch), -(-sides[1] // patch))]
    while min(sizes[-1]) >= 2 * MIN_SIDE:
        sizes.append((-(-sizes[-1][0] // 2), -(-sizes[-1][1] // 2)))
        widths.append(min(2 * widths[-1], MAX_WIDENING * width))
    return patch, widths, sizes


def group_norm(width: int) -> nn.GroupNorm:
    """In eight groups, or as many as there can be."""
    return nn.GroupNorm(next(n for n in (8, 4, 2, 1) if width % n == 0), width)


def even(maps: Tensor, factor: int) -> Tensor:
    """Maps (B, C, H, W) whose sides can be divided: at their ends they are continued."""
    height, width = (-side % factor for side in maps.shape[2:])
    if not height and not width:
        return maps
    return functional.pad(maps, (0, width, 0, height), mode="replicate")


def _through(stage: "Sequence[nn.Module] | nn.Module", maps: Tensor, context: Tensor) -> Tensor:
    assert isinstance(stage, nn.ModuleList)
    for block in stage:
        maps = block(maps, context)
    return maps

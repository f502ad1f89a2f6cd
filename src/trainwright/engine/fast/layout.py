"""Maps that stay channels last where a network goes from features to maps, and from maps to them.

`nn.Unflatten` makes maps that are channels first, and the gradient that comes back through
`nn.Flatten` is so too. What meets them there, an activation's gradient most of all, then walks
through one tensor in each order: that takes ten times as long, and one step of a convolutional GAN
does it three times. A copy in front of it is cheap.
"""

from torch import Tensor, nn


def keep_channels_last(network: nn.Module) -> None:
    """Let every `Unflatten` give maps, and every `Flatten` lead back a gradient, channels last.

    Changes where numbers lie, not what they are.
    """
    for module in network.modules():
        if isinstance(module, nn.Unflatten):
            module.register_forward_hook(_give_last)
        elif isinstance(module, nn.Flatten):
            module.register_forward_pre_hook(_lead_back_last)


def _give_last(module: nn.Module, inputs: tuple[Tensor, ...], maps: Tensor) -> Tensor:
    return _last(maps)


def _lead_back_last(module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
    (maps,) = inputs
    if maps.requires_grad:
        maps.register_hook(_last)  # type: ignore[no-untyped-call]


def _last(maps: Tensor) -> Tensor:
    """Maps (B, C, H, W) channels last; anything else as it is."""
    if maps.dim() != 4:
        return maps
    # `contiguous(memory_format=...)` does the same, but not under `torch.func.vmap`.
    return maps.permute(0, 2, 3, 1).contiguous().permute(0, 3, 1, 2)

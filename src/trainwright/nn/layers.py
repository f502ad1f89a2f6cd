"""Choices that several networks share: activations, normalisations, sizes of images."""

from collections.abc import Callable
from typing import Literal, get_args

from torch import nn

Activation = Literal["relu", "leaky_relu", "gelu", "silu", "sigmoid", "tanh"]
Norm = Literal["batch", "layer"]

_ACTIVATIONS: dict[Activation, Callable[[], nn.Module]] = {
    "relu": nn.ReLU,
    "leaky_relu": lambda: nn.LeakyReLU(0.2),  # the slope of DCGAN (Radford et al. 2015)
    "gelu": nn.GELU,
    "silu": nn.SiLU,
    "sigmoid": nn.Sigmoid,
    "tanh": nn.Tanh,
}


def make_activation(name: Activation) -> nn.Module:
    """Return the activation of that name; ValueError names the valid ones."""
    if name not in _ACTIVATIONS:
        raise ValueError(f"activation={name!r} is not one of {', '.join(_ACTIVATIONS)}")
    return _ACTIVATIONS[name]()


def make_norm_1d(name: Norm | None, num_features: int) -> list[nn.Module]:
    """Return the normalisation of a (B, F) tensor as a list: empty where there is none."""
    check_norm(name)
    if name is None:
        return []
    return [nn.BatchNorm1d(num_features) if name == "batch" else nn.LayerNorm(num_features)]


def make_norm_2d(name: Norm | None, num_channels: int) -> list[nn.Module]:
    """Return the normalisation of a (B, C, H, W) tensor as a list: empty where there is none.

    `layer` takes mean and variance over all of C, H and W, with a gain and bias per channel
    (Ba et al. 2016 section 6.7 as in GroupNorm with one group, Wu & He 2018).
    """
    check_norm(name)
    if name is None:
        return []
    return [nn.BatchNorm2d(num_channels) if name == "batch" else nn.GroupNorm(1, num_channels)]


def check_norm(name: Norm | None) -> None:
    """Raise a ValueError that names the valid normalisations unless this is one."""
    if name is not None and name not in get_args(Norm):
        raise ValueError(f"norm={name!r} is not one of {', '.join(get_args(Norm))}, null")


def check_dropout(dropout: float) -> None:
    """Raise a ValueError unless this is a share of values that can be dropped."""
    if not 0.0 <= dropout < 1.0:
        raise ValueError(f"dropout={dropout} is not in 0 <= value < 1")


def check_positive(**settings: int) -> None:
    """Raise a ValueError that names the first setting that is below 1."""
    for name, value in settings.items():
        if value < 1:
            raise ValueError(f"{name}={value} is below 1")


def check_widths(name: str, widths: tuple[int, ...], *, empty: bool = False) -> None:
    """Raise a ValueError unless all widths are at least 1; none at all is fine if `empty`."""
    if not widths and not empty:
        raise ValueError(f"{name}={list(widths)} is empty; it takes at least one number")
    if any(width < 1 for width in widths):
        raise ValueError(f"{name}={list(widths)} has a number below 1")


def image_size(network: str, input_shape: tuple[int, ...], minimum: int) -> tuple[int, int, int]:
    """Return (C, H, W); ValueError for tables and for images with a side below `minimum`."""
    if len(input_shape) != 3:
        raise ValueError(
            f"{network} takes images (C, H, W), not examples of shape {tuple(input_shape)}; "
            "for tables use mlp"
        )
    channels, height, width = input_shape
    if min(height, width) < minimum:
        raise ValueError(
            f"{network} takes images of at least {minimum}x{minimum} pixels, not {height}x{width}"
        )
    return channels, height, width

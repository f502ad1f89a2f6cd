"""A network with fewer channels: the weights of those that are left."""

import copy
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from trainwright.engine.checkpoint import checkpoint
from trainwright.errors import ConfigError
from trainwright.inference.trained import Trained

WEIGHED = (nn.Conv1d, nn.Conv2d, nn.Linear)
SCALED = (nn.BatchNorm1d, nn.BatchNorm2d, nn.GroupNorm)


def left(width: int, share: float) -> int:
    """How many channels are left of so many."""
    return max(1, round(width * (1 - share)))


@torch.no_grad()
def pruned_weights(network: nn.Module, share: float) -> dict[str, Tensor]:
    """The weights of a chain of layers without that share of the channels of each but the last.

    Those go whose weights have the least absolute sum (Li et al. 2017, "Pruning filters for
    efficient ConvNets"), after batch normalisation times what that multiplies them by.
    """
    layers = [(n, m) for n, m in network.named_modules() if isinstance(m, (*WEIGHED, *SCALED))]
    *_, last = (module for _, module in layers if isinstance(module, WEIGHED))
    weights = dict(network.state_dict())
    width, kept = 0, torch.empty(0, dtype=torch.int64)  # of the layer before
    for place, (name, layer) in enumerate(layers):
        own = {f"{name}.{leaf}": value for leaf, value in layer.state_dict().items() if value.dim()}
        if isinstance(layer, SCALED):
            weights |= {leaf: value[kept] for leaf, value in own.items()}
            continue
        weight: Any = layer.weight
        if width:  # a channel is several numbers of a vector that maps were flattened to
            numbers = torch.arange(weight.shape[1]).view(width, -1)
            weight = weight[:, numbers[kept].flatten()]
        strength = weight.abs().flatten(1).sum(1)
        follower = layers[place + 1][1] if place + 1 < len(layers) else None
        if isinstance(follower, nn.BatchNorm1d | nn.BatchNorm2d):
            assert follower.running_var is not None
            strength = (
                strength * follower.weight.abs() / (follower.running_var + follower.eps).sqrt()
            )
        width = len(weight)
        kept = strength.topk(width if layer is last else left(width, share)).indices.sort().values
        weights |= {leaf: value[kept] for leaf, value in own.items()}
        weights[f"{name}.weight"] = weight[kept]
    return {name: value.contiguous() for name, value in weights.items()}


def write_pruned(trained: Trained, share: float, folder: Path) -> None:
    """Make a run folder with one checkpoint, of the pruned network, for a run to be forked from.

    Raises ConfigError for a network that is no chain of layers whose widths are its arguments.
    """
    network = getattr(trained.task, "model", None)
    widths = getattr(network, "prunable", ())
    if not isinstance(network, nn.Module) or not widths:
        raise ConfigError(
            f"prune={share:g}: {type(network).__name__} has no widths that could be halved each\n"
            "  cnn, cnn1d and mlp have; the others can be compressed without prune=..."
        )
    metadata = copy.deepcopy(dict(trained.metadata))
    section = metadata["config"]["model"]
    for name in widths:
        section[name] = [left(width, share) for width in section[name]]
    tensors = dict(trained.task.state_dict())
    tensors |= {f"model.{name}": value for name, value in pruned_weights(network, share).items()}
    path = folder / "checkpoints" / "best.safetensors"
    path.parent.mkdir(parents=True)
    checkpoint.save(
        [path], {f"task.{n}": v.cpu().contiguous() for n, v in tensors.items()}, metadata
    )

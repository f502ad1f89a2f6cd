"""Whether the steps of a run can be captured as CUDA graphs, as far as its settings tell."""

from collections.abc import Mapping
from dataclasses import replace

import torch

from trainwright.engine.device.device import Placement
from trainwright.engine.optim.fused import is_fused
from trainwright.engine.optim.player_optimizer import PlayerOptimizer
from trainwright.engine.settings import TrainerSettings
from trainwright.errors import ConfigError


def with_graph(
    placement: Placement, settings: TrainerSettings, optimizers: Mapping[str, PlayerOptimizer]
) -> Placement:
    """The placement, and whether steps are captured there. Raises ConfigError where they must be.

    What only the steps show is found out by `engine/fast/cuda_graph.py`.
    """
    if settings.cuda_graph == "off":
        return placement
    on_cuda = placement.device.type == "cuda"
    reason = _reason_against(placement, settings, optimizers) if on_cuda else ""
    if settings.cuda_graph == "on" and not on_cuda:
        raise ConfigError(
            f"trainer.cuda_graph=on needs a CUDA device, and this run computes on "
            f"{placement.device.type}\n  auto uses a graph only on such a device"
        )
    if settings.cuda_graph == "on" and reason:
        raise ConfigError(
            f"trainer.cuda_graph=on: no graph can hold the steps: {reason}\n"
            "  change that, or choose auto, which does without"
        )
    return replace(placement, static=on_cuda and not reason, why_not_static=reason)


def _reason_against(
    placement: Placement, settings: TrainerSettings, optimizers: Mapping[str, PlayerOptimizer]
) -> str:
    """What reads numbers of every step on the host, or moves weights otherwise; "" if nothing."""
    if settings.on_nonfinite == "skip":
        return "trainer.on_nonfinite=skip looks at every step"
    if placement.precision == "fp16":
        return "trainer.precision=fp16 scales each loss by what the last came to"
    for optimizer in optimizers.values():
        if any(parameter.dtype != torch.float32 for parameter in optimizer.parameters):
            return "the model has parameters that are not float32"
        for inner in optimizer.optimizers:
            if not is_fused(inner):
                return f"{type(inner).__name__} has no fused kernel here"
    return ""

"""Gradients as values: of one player's loss with respect to that player's parameters alone."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from trainwright.data.batches import Batch
from trainwright.engine.device.device import Placement
from trainwright.tasks.task import Handed as Carry
from trainwright.tasks.task import Task


def gradients(
    task: Task,
    player: str,
    parameters: Sequence[Tensor],
    batches: Sequence[Batch],
    carry: Sequence[Carry],
    placement: Placement,
    loss_scale: float = 1.0,
) -> tuple[list[Tensor], dict[str, Tensor]]:
    """The mean gradient over equal `batches`, times `loss_scale`, and the mean of what was seen.

    More than one batch is gradient accumulation. A parameter that the loss does not depend on
    has a gradient of zeros.
    """
    total: list[Tensor] = []
    seen: dict[str, Tensor] = {}
    share = 1 / len(batches)
    for batch, notes in zip(batches, carry, strict=True):
        with placement.autocast():
            loss, metrics = task(player, batch, notes)
        weighted = loss * (share * loss_scale) if share * loss_scale != 1 else loss
        part = torch.autograd.grad(weighted, parameters, allow_unused=True, materialize_grads=True)
        if len(batches) == 1:
            return list(part), metrics
        total = list(torch._foreach_add(total, part)) if total else list(part)
        seen = {k: seen.get(k, 0) + v.mean() * share for k, v in metrics.items()}
    return total, seen


def global_norm(gradients: Sequence[Tensor]) -> float:
    """The Euclidean norm of all gradients together; not finite if any of them is not.

    A dot product of each with itself is the cheapest way on a CPU; on a GPU it is one fused call.
    """
    if gradients[0].is_cuda:
        return float(torch.nn.utils.get_total_norm(gradients))
    flat = [gradient.reshape(-1) for gradient in gradients]
    return math.sqrt(sum(float(torch.dot(g, g)) for g in flat))


def clip_(gradients: list[Tensor], norm: float, max_norm: float) -> None:
    """Scale all gradients down in place so that their global norm is at most `max_norm`."""
    if norm > max_norm:
        torch._foreach_mul_(gradients, max_norm / (norm + 1e-6))

"""Numbers that are not finite: which tensor holds them, and what a person is told."""

import math
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from trainwright.engine.ranks.world import held
from trainwright.engine.state import TrainState
from trainwright.errors import NonFiniteError


def first_nonfinite(tensors: Mapping[str, Tensor]) -> str | None:
    """`layers.0.weight (3 of 64 values, the first is nan)` of the first that is not finite."""
    for name, tensor in tensors.items():
        if tensor.is_floating_point() and not bool(torch.isfinite(tensor).all()):
            values = tensor[~torch.isfinite(tensor)]
            return f"{name} ({len(values)} of {tensor.numel()} values, the first is {values[0]:g})"
    return None


def refuse_nonfinite(tensors: Mapping[str, Tensor], where: str) -> None:
    """Raise NonFiniteError that names the first of `tensors` that is not finite, if any is."""
    found = first_nonfinite(tensors)
    if found is not None:
        raise NonFiniteError(
            f"NaN or infinity appeared {where}\n"
            f"  {found}\n"
            "  try a lower optimizer.lr, trainer.clip_norm=1, or trainer.precision=fp32"
        )


def refused_move(
    state: TrainState,
    player: str,
    batch: Mapping[str, Tensor],
    loss: Tensor,
    gradients: Sequence[Tensor],
    norm: float,
) -> NonFiniteError:
    """The error for a player's move in this step, with the tensor to blame.

    Looked for where a cause comes before its effects: the batch (its tensors by name), the weights,
    the loss, gradients.
    """
    network = state.task.players[player]
    named = [name for name, p in network.named_parameters() if p.requires_grad]
    grads = dict(zip((f"the gradient of {name}" for name in named), gradients, strict=True))
    blame = (
        first_nonfinite({f"the batch's {name}": tensor for name, tensor in batch.items()})
        or first_nonfinite({name: held(t) for name, t in state.task.state_dict().items()})
        or (None if math.isfinite(float(loss)) else f"the loss is {float(loss):g}")
        or first_nonfinite(grads)
        or "the squares of the gradients overflow"
    )
    return NonFiniteError(
        f"player {player!r} got NaN or infinity in step {state.step + 1}\n"
        f"  {blame}; loss {float(loss):.4g}, gradient norm {norm:.4g}\n"
        "  try a lower optimizer.lr, trainer.clip_norm=1, or trainer.precision=fp32"
    )

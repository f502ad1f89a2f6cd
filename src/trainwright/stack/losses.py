"""Losses of all members at once: the mean over the examples of each, where torch has one for all.

So a task that is one loss on what its network says needs no `vmap`, once that network is a chain.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional
from torch.overrides import TorchFunctionMode

from trainwright.stack.draws import PerMember

# Along a last dimension as short as this, torch on a CPU fills no vector with what it computes.
FEW_CLASSES = 32


class LossPerMember(TorchFunctionMode):
    """While this is open, losses of what K members have computed, (K, B, ...), are (K,)."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Call `func`, or for a loss its counterpart."""
        return _COUNTERPARTS.get(func, func)(*args, **(kwargs or {}))


def _cross_entropy(
    logits: Tensor, targets: Tensor, *, label_smoothing: float | PerMember = 0.0, **others: Any
) -> Tensor:
    """Of logits (K, B, classes) and targets (K, B), or shares of classes (K, B, classes)."""
    _check_others(others)
    if logits.shape[2] < FEW_CLASSES:
        log_probs = logits.mT.contiguous().log_softmax(dim=1)  # (K, classes, B)
    else:
        log_probs = logits.log_softmax(dim=2).mT
    if targets.is_floating_point():
        plain = -(log_probs * targets.mT).sum(dim=1).mean(dim=1)
    else:
        plain = -log_probs.gather(1, targets.unsqueeze(1)).mean(dim=(1, 2))
    if not label_smoothing:
        return plain
    if isinstance(label_smoothing, PerMember):
        share = torch.tensor(label_smoothing.numbers, device=logits.device)  # (K,)
    else:
        share = torch.tensor(label_smoothing, device=logits.device)
    spread = -log_probs.mean(dim=(1, 2))
    return (1 - share) * plain + share * spread


def _mse_loss(outputs: Tensor, targets: Tensor, **others: Any) -> Tensor:
    """Of values (K, B)."""
    _check_others(others)
    return functional.mse_loss(outputs, targets, reduction="none").mean(dim=1)


def _binary_cross_entropy(logits: Tensor, targets: Tensor, **others: Any) -> Tensor:
    """Of logits and targets (K, B, classes)."""
    _check_others(others)
    loss = functional.binary_cross_entropy_with_logits(logits, targets, reduction="none")
    return loss.mean(dim=(1, 2))


def _check_others(others: dict[str, Any]) -> None:
    """Of torch's other options none is used."""
    assert others.pop("ignore_index", -100) == -100
    assert others.pop("reduction", "mean") == "mean"
    assert not any(others.values())


_COUNTERPARTS: dict[Callable[..., Tensor], Callable[..., Tensor]] = {
    functional.binary_cross_entropy_with_logits: _binary_cross_entropy,
    functional.cross_entropy: _cross_entropy,
    functional.mse_loss: _mse_loss,
}

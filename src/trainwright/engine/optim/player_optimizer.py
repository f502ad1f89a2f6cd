"""One player's optimizer: which parameters decay, the learning rate of a step, L1, its state."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from trainwright.engine.optim.fused import Kernel, fused_kernels
from trainwright.engine.optim.no_compiler import step_by_torch
from trainwright.engine.ranks.world import held
from trainwright.wording import printable

ParameterGroups = list[dict[str, Any]]


def decay_groups(parameters: Sequence[nn.Parameter], weight_decay: float) -> ParameterGroups:
    """Two groups: weights decay; biases, gains and other vectors do not. One, if nothing does."""
    if not weight_decay:
        return [{"params": list(parameters), "weight_decay": 0.0}]
    groups = [
        {"params": [p for p in parameters if p.dim() >= 2], "weight_decay": weight_decay},
        {"params": [p for p in parameters if p.dim() < 2], "weight_decay": 0.0},
    ]
    return [group for group in groups if group["params"]]


class PlayerOptimizer:
    """What moves one player: torch optimizers that between them hold all its parameters.

    Most often that is one optimizer. Muon takes only matrices, so it comes with a second for the
    rest. `l1` is the weight of an L1 penalty on what decays, added to the gradient. Of parameters
    that are sharded it moves what this rank holds.
    """

    def __init__(self, player: nn.Module, optimizers: Sequence[Optimizer], *, l1: float) -> None:
        self.parameters = [held(p) for p in player.parameters() if p.requires_grad]
        self._names: dict[Tensor, str] = {held(p): name for name, p in player.named_parameters()}
        self.optimizers = list(optimizers)
        self._groups = [g for optimizer in self.optimizers for g in optimizer.param_groups]
        self.base_lrs = [float(group["lr"]) for group in self._groups]
        self.learning_rate = self.base_lrs[0]  # of the first group, as of the last step
        self.l1 = l1
        moved = [p for group in self._groups for p in group["params"]]
        assert {id(p) for p in moved} == {id(p) for p in self.parameters}
        assert len(moved) == len(self.parameters)
        position = {id(p): index for index, p in enumerate(self.parameters)}
        # Where the gradients of each optimizer's groups stand among those that `step` is given.
        self.positions = [
            [[position[id(p)] for p in group["params"]] for group in optimizer.param_groups]
            for optimizer in self.optimizers
        ]
        self._centre: Sequence[Tensor] = ()
        self._pull = 0.0
        # Known once torch has made an optimizer's state, in its first step.
        self._kernels: list[list[Kernel] | None] = [None] * len(self.optimizers)

    def pull_to(self, weights: Sequence[Tensor], strength: float) -> None:
        """From now on, pull the parameters to these values, in their order.

        That is a penalty of strength / 2 times the square of their distance, whose gradient is
        added to what `step` is given (FedProx: Li et al. 2020, arXiv:1812.06127).
        """
        self._centre, self._pull = weights, strength

    def set_rate(self, factor: float) -> None:
        """Let the learning rates be `factor` times what they were at first."""
        for group, base_lr in zip(self._groups, self.base_lrs, strict=True):
            group["lr"] = base_lr * factor
        self.learning_rate = self.base_lrs[0] * factor

    @torch.no_grad()
    def step(self, gradients: Sequence[Tensor], factor: float) -> None:
        """Move the parameters along `gradients`, given in their order, at `factor` times lr."""
        laid = self.laid_out(gradients)
        self.set_rate(factor)
        for number, kernels in enumerate(self._kernels):
            if kernels is None:
                self._step_by_torch(number, laid)
                continue
            for kernel, positions in zip(kernels, self.positions[number], strict=True):
                kernel([laid[position] for position in positions])

    def laid_out(self, gradients: Sequence[Tensor]) -> list[Tensor]:
        """Gradients as kernels want them, in the order of the parameters; with L1 and a pull."""
        if self._pull:
            pairs = zip(gradients, self.parameters, self._centre, strict=True)
            gradients = [g + self._pull * (p - centre) for g, p, centre in pairs]
        return [self._laid_out(p, g) for p, g in zip(self.parameters, gradients, strict=True)]

    def _laid_out(self, parameter: nn.Parameter, gradient: Tensor) -> Tensor:
        """The gradient in its parameter's layout, through which fused kernels walk; with L1."""
        if gradient.stride() != parameter.stride():
            gradient = torch.empty_like(parameter).copy_(gradient)
        if self.l1 and parameter.dim() >= 2:
            gradient = gradient + self.l1 * parameter.sign()
        return gradient

    def _step_by_torch(self, number: int, gradients: Sequence[Tensor]) -> None:
        optimizer = self.optimizers[number]
        for group, positions in zip(optimizer.param_groups, self.positions[number], strict=True):
            for parameter, position in zip(group["params"], positions, strict=True):
                parameter.grad = gradients[position]
        step_by_torch(optimizer)
        optimizer.zero_grad()
        self._kernels[number] = fused_kernels(optimizer)

    def memory(self) -> list[Tensor]:
        """Every state tensor."""
        states = [s for optimizer in self.optimizers for s in optimizer.state.values()]
        return [value for s in states for value in s.values() if isinstance(value, Tensor)]

    def state_dict(self) -> dict[str, Tensor]:
        """Every state tensor under `<parameter>.<name>`, numbers as 0-dim tensors.

        By the parameters' names, for their order depends on which of them decay.
        """
        return {
            f"{self._names[parameter]}.{name}": torch.as_tensor(value)
            for optimizer in self.optimizers
            for parameter, state in optimizer.state.items()
            for name, value in state.items()
            if value is not None
        }

    def load_state_dict(self, tensors: dict[str, Tensor]) -> None:
        """Restore what `state_dict` gave. Raises KeyError or ValueError where it does not fit."""
        owners: dict[str, tuple[Optimizer, nn.Parameter, dict[str, Any]]] = {}
        self._kernels = [None] * len(self.optimizers)
        for optimizer in self.optimizers:
            optimizer.state.clear()
            for group in optimizer.param_groups:
                owners |= {self._names[p]: (optimizer, p, group) for p in group["params"]}
        for key, value in tensors.items():
            owner, _, name = key.rpartition(".")
            optimizer, parameter, group = owners[owner]
            # torch's own keep numbers, and tensors like the parameter.
            is_torch = type(optimizer).__module__.startswith("torch.optim")
            fits = value.dim() == 0 or value.shape == parameter.shape
            if is_torch and not (fits and value.is_floating_point()):
                raise ValueError(f"{printable(key)[:100]} is not part of this optimizer's state")
            optimizer.state[parameter][name] = _placed(value, parameter, group)


def _placed(value: Tensor, parameter: Tensor, group: dict[str, Any]) -> Tensor:
    """A copy of a state tensor where the optimizer expects it.

    What has the parameter's shape must lie in memory as the parameter does (fused kernels). The
    step count is on the parameter's device if the kernel reads it there, else on the CPU.
    """
    if value.dim() == 0:
        on_device = group.get("fused") or group.get("capturable")
        return value.to(parameter.device, copy=True) if on_device else value.clone()
    if value.shape != parameter.shape:
        return value.to(parameter.device, copy=True)
    return torch.empty_like(parameter, dtype=value.dtype).copy_(value)

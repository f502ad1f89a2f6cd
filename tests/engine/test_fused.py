"""The kernels called directly against torch's own fused optimizers, bit for bit."""

import pytest
import torch
from torch import nn

from trainwright.engine.optim.fused import fused_kernels
from trainwright.engine.optim.player_optimizer import PlayerOptimizer, decay_groups

pytestmark = pytest.mark.numeric
OPTIMIZERS = {
    "adam": lambda g: torch.optim.Adam(g, lr=1e-2, betas=(0.8, 0.95), fused=True),
    "adam with coupled decay": lambda g: torch.optim.Adam(g, lr=1e-2, fused=True),
    "amsgrad": lambda g: torch.optim.Adam(g, lr=1e-2, amsgrad=True, eps=1e-3, fused=True),
    "adam, maximizing": lambda g: torch.optim.Adam(g, lr=1e-2, maximize=True, fused=True),
    "adamw": lambda g: torch.optim.AdamW(g, lr=1e-2, fused=True),
    "sgd": lambda g: torch.optim.SGD(g, lr=1e-2, fused=True),
    "momentum": lambda g: torch.optim.SGD(g, lr=1e-2, momentum=0.9, dampening=0.2, fused=True),
    "nesterov": lambda g: torch.optim.SGD(g, lr=1e-2, momentum=0.9, nesterov=True, fused=True),
}


def net():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(6, 16), nn.Tanh(), nn.Linear(16, 3))


def loss_of(net, step):
    generator = torch.Generator().manual_seed(step)
    return net(torch.randn(4, 6, generator=generator)).square().sum()


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_many_steps_give_the_bits_of_torch_with_backward(name):
    decay = 0.1 if "decay" in name or name == "adamw" else 0.0
    ours, theirs = net(), net()
    torchs_own = OPTIMIZERS[name](decay_groups(list(theirs.parameters()), decay))
    held = OPTIMIZERS[name](decay_groups(list(ours.parameters()), decay))
    optimizer = PlayerOptimizer(ours, [held], l1=0.0)
    for step in range(20):
        optimizer.step(
            torch.autograd.grad(loss_of(ours, step), optimizer.parameters), 1 / (1 + step)
        )
        for group in torchs_own.param_groups:
            group["lr"] = 1e-2 * (1 / (1 + step))
        torchs_own.zero_grad()
        loss_of(theirs, step).backward()
        torchs_own.step()
    assert fused_kernels(held) is not None
    for mine, reference in zip(ours.parameters(), theirs.parameters(), strict=True):
        assert torch.equal(mine, reference)
    for mine, reference in zip(held.state.values(), torchs_own.state.values(), strict=True):
        assert mine.keys() == reference.keys()
        assert all(torch.equal(mine[key], reference[key]) for key in mine)


def test_an_optimizer_of_another_kind_or_not_fused_is_left_to_torch():
    parameters = list(net().parameters())

    class Mine(torch.optim.Adam):
        pass

    for optimizer in (
        torch.optim.RMSprop(parameters),
        torch.optim.Adam(parameters, foreach=True),
        Mine(parameters, fused=True),
    ):
        assert fused_kernels(optimizer) is None

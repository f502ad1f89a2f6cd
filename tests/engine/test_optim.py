"""One player's optimizer against plain torch.optim with loss.backward()."""

import copy

import pytest
import torch
from torch import nn

from trainwright.engine.optim.muon import Muon
from trainwright.engine.optim.player_optimizer import PlayerOptimizer, decay_groups

pytestmark = pytest.mark.numeric
FACTORIES = {
    "adam": lambda p, **k: torch.optim.Adam(p, lr=1e-2, betas=(0.8, 0.95), **k),
    "adamw": lambda p, **k: torch.optim.AdamW(p, lr=1e-2, weight_decay=0.1, **k),
    "sgd": lambda p, **k: torch.optim.SGD(p, lr=1e-2, momentum=0.9, nesterov=True, **k),
    "adagrad": lambda p, **k: torch.optim.Adagrad(p, lr=1e-2, **k),
}


def mlp():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(6, 16), nn.Tanh(), nn.Linear(16, 3)).double()


def convolutions():
    """Weights lie channels last, as a run lays them out; their gradients need not."""
    torch.manual_seed(0)
    net = nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1), nn.Tanh(), nn.Conv2d(8, 5, 3), nn.Flatten(), nn.Linear(80, 3)
    ).double()
    for parameter in net.parameters():
        if parameter.dim() == 4:
            parameter.data = parameter.data.contiguous(memory_format=torch.channels_last)
    return net


def inputs(net, step):
    generator = torch.Generator().manual_seed(step)
    shape = (4, 6) if isinstance(net[0], nn.Linear) else (4, 3, 6, 6)
    return torch.randn(shape, generator=generator, dtype=torch.float64)


def loss_of(net, step):
    return net(inputs(net, step)).square().sum()


def train(net, optimizer, steps, factor=lambda step: 1.0):
    for step in steps:
        gradients = torch.autograd.grad(loss_of(net, step), optimizer.parameters)
        optimizer.step(gradients, factor(step))


def train_plainly(net, optimizer, steps, factor=lambda step: 1.0):
    rates = [group["lr"] for group in optimizer.param_groups]
    for step in steps:
        for group, rate in zip(optimizer.param_groups, rates, strict=True):
            group["lr"] = rate * factor(step)
        optimizer.zero_grad()
        loss_of(net, step).backward()
        optimizer.step()


def player_optimizer(net, make, *, weight_decay=0.0, l1=0.0):
    groups = decay_groups(list(net.parameters()), weight_decay)
    return PlayerOptimizer(net, [make(groups)], l1=l1)


@pytest.mark.parametrize("make_net", [mlp, convolutions])
@pytest.mark.parametrize("name", FACTORIES)
def test_fused_steps_along_values_equal_plain_torch_with_backward(name, make_net):
    make = FACTORIES[name]
    ours, theirs = make_net(), make_net()
    decay = 0.1 if name == "adamw" else 0.0
    optimizer = player_optimizer(ours, lambda g: make(g, fused=True), weight_decay=decay)
    # torch's own for-loop, with the two groups written by hand
    weights = [p for n, p in theirs.named_parameters() if n.endswith("weight")]
    biases = [p for n, p in theirs.named_parameters() if n.endswith("bias")]
    groups = [{"params": weights, "weight_decay": decay}, {"params": biases, "weight_decay": 0.0}]
    plain = make(groups, fused=False, foreach=False)

    def factor(step):
        return 1 / (1 + step)

    train(ours, optimizer, range(20), factor)
    train_plainly(theirs, plain, range(20), factor)
    for mine, reference in zip(ours.parameters(), theirs.parameters(), strict=True):
        torch.testing.assert_close(mine, reference, rtol=1e-9, atol=1e-9)
    assert optimizer.learning_rate == pytest.approx(1e-2 / 20)


@pytest.mark.parametrize("name", FACTORIES)
def test_a_gradient_that_lies_otherwise_than_its_parameter_moves_it_all_the_same(name):
    """Fused kernels walk through memory: seen unmended, they permute a convolution's update."""
    values = torch.randn(5, 3, 2, 2, dtype=torch.float64)
    gradient = torch.randn(5, 3, 2, 2, dtype=torch.float64)
    moved = []
    for layout in (torch.contiguous_format, torch.channels_last):
        net = nn.Module()
        net.weight = nn.Parameter(values.clone().contiguous(memory_format=layout))
        optimizer = player_optimizer(net, lambda g: FACTORIES[name](g, fused=True))
        for step in range(3):
            optimizer.step([gradient * (step + 1)], 1.0)
        assert net.weight.is_contiguous(memory_format=layout)
        moved.append(net.weight.detach())
    assert (moved[0] - values).abs().min() > 0
    torch.testing.assert_close(moved[1], moved[0], rtol=1e-12, atol=1e-12)


def test_no_gradient_is_left_behind_on_the_parameters():
    net = mlp()
    train(net, player_optimizer(net, FACTORIES["adam"]), range(1))
    assert all(parameter.grad is None for parameter in net.parameters())


def test_weights_decay_and_biases_do_not():
    """With a gradient of zero AdamW moves by its decay alone: w * (1 - lr * weight_decay)."""
    net = nn.Linear(3, 2)
    nn.init.ones_(net.bias)
    before = copy.deepcopy(net)
    optimizer = PlayerOptimizer(
        net, [torch.optim.AdamW(decay_groups(list(net.parameters()), 0.5), lr=0.1)], l1=0.0
    )
    optimizer.step([torch.zeros_like(p) for p in net.parameters()], 1.0)
    torch.testing.assert_close(net.weight, before.weight * (1 - 0.1 * 0.5))
    assert torch.equal(net.bias, before.bias)


def test_gains_of_a_normalisation_do_not_decay():
    net = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.Flatten(), nn.Linear(2, 2))
    decaying, others = decay_groups(list(net.parameters()), 0.3)
    assert {id(p) for p in decaying["params"]} == {id(net[0].weight), id(net[3].weight)}
    assert (decaying["weight_decay"], others["weight_decay"]) == (0.3, 0.0)
    assert len(others["params"]) == 4


def test_l1_adds_its_weight_times_the_sign_to_the_gradient_of_what_decays():
    net = nn.Linear(2, 2)
    with torch.no_grad():
        net.weight.copy_(torch.tensor([[1.0, -2.0], [0.0, 3.0]]))
        net.bias.copy_(torch.tensor([1.0, -1.0]))
    optimizer = PlayerOptimizer(net, [torch.optim.SGD(net.parameters(), lr=0.5)], l1=0.1)
    optimizer.step([torch.full((2, 2), 0.2), torch.tensor([0.2, 0.2])], 1.0)
    torch.testing.assert_close(net.weight, torch.tensor([[0.85, -2.05], [-0.1, 2.85]]))
    torch.testing.assert_close(net.bias, torch.tensor([0.9, -1.1]))


@pytest.mark.parametrize("model", ["mlp", "cnn", "resnet", "airbench", "gan"])
def test_muon_and_its_second_hold_every_parameter_once(assembled, model):
    unscored = ["task.score=none"] if model == "gan" else []
    assembly = assembled(f"model={model}", "optimizer=muon", "data.limit=500", *unscored)
    for name, player in assembly.state.task.players.items():
        optimizer = assembly.state.optimizers[name]
        muon, adamw = optimizer.optimizers
        assert isinstance(muon, Muon)
        assert isinstance(adamw, torch.optim.AdamW)
        held = {o: [p for g in o.param_groups for p in g["params"]] for o in (muon, adamw)}
        *hidden, output = (p for p in player.parameters() if p.dim() >= 2)
        assert {id(p) for p in held[muon]} == {id(p) for p in hidden}
        assert any(p is output for p in held[adamw])
        ids = sorted(id(p) for parameters in held.values() for p in parameters)
        assert ids == sorted(id(p) for p in player.parameters() if p.requires_grad)


def test_a_player_with_a_parameter_that_nothing_moves_is_refused():
    net = mlp()
    with pytest.raises(AssertionError):
        PlayerOptimizer(net, [torch.optim.SGD([net[0].weight], lr=0.1)], l1=0.0)


def with_muon(net):
    weights = [p for p in net.parameters() if p.dim() >= 2]
    rest = [p for p in net.parameters() if p.dim() < 2]
    optimizers = [
        Muon(decay_groups(weights, 0.01), lr=0.02),
        torch.optim.AdamW(decay_groups(rest, 0.0), lr=1e-2, fused=True),
    ]
    return PlayerOptimizer(net, optimizers, l1=0.0)


ROUND_TRIPS = {
    **{
        name: lambda net, name=name: player_optimizer(
            net, lambda g: FACTORIES[name](g, fused=True), weight_decay=0.01
        )
        for name in FACTORIES
    },
    "rmsprop": lambda net: player_optimizer(
        net, lambda g: torch.optim.RMSprop(g, lr=1e-2, momentum=0.5, centered=True)
    ),
    "sgd without momentum": lambda net: player_optimizer(
        net, lambda g: torch.optim.SGD(g, lr=1e-2, fused=True)
    ),
    "muon": with_muon,
}


@pytest.mark.parametrize("make_net", [mlp, convolutions])
@pytest.mark.parametrize("name", ROUND_TRIPS)
def test_an_optimizer_restored_into_a_fresh_one_goes_on_to_the_same_bits(name, make_net):
    make = ROUND_TRIPS[name]
    whole = make_net()
    train(whole, make(whole), range(10))

    stopped = make_net()
    optimizer = make(stopped)
    train(stopped, optimizer, range(5))
    saved = {k: v.contiguous().clone() for k, v in optimizer.state_dict().items()}
    resumed = make_net()
    resumed.load_state_dict(stopped.state_dict())
    optimizer = make(resumed)
    train(resumed, optimizer, range(50, 52))  # what it did before must not matter
    resumed.load_state_dict(stopped.state_dict())
    optimizer.load_state_dict(saved)
    train(resumed, optimizer, range(5, 10))
    for mine, reference in zip(resumed.parameters(), whole.parameters(), strict=True):
        assert torch.equal(mine, reference)

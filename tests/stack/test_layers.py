"""Layers of several members computed at once, against torch's own one by one."""

import copy

import pytest
import torch
from torch import nn
from torch.func import functional_call, vmap

from trainwright.seeds import reseed_global
from trainwright.stack.draws import Draws, Each
from trainwright.stack.layers import Chain, by_hand
from trainwright.stack.rows import stack_

pytestmark = [pytest.mark.numeric, pytest.mark.usefixtures("doubles")]
NUM, BATCH = 3, 6
CPU = torch.device("cpu")
NETWORKS = {
    "dense": lambda: nn.Sequential(nn.Linear(5, 4)),
    "dense without bias": lambda: nn.Sequential(nn.Linear(5, 4, bias=False)),
    "flattened images": lambda: nn.Sequential(nn.Flatten(), nn.Linear(5, 4)),
    "batch normalisation": lambda: nn.Sequential(nn.Linear(5, 4), nn.BatchNorm1d(4)),
    "layer normalisation": lambda: nn.Sequential(nn.Linear(5, 4), nn.LayerNorm(4)),
    "two": lambda: nn.Sequential(nn.Linear(5, 4), nn.Tanh(), nn.Linear(4, 2)),
    **{
        kind.__name__: lambda kind=kind: nn.Sequential(nn.Linear(5, 4), kind())
        for kind in (nn.ReLU, nn.LeakyReLU, nn.GELU, nn.SiLU, nn.Sigmoid, nn.Tanh)
    },
}


def members(make):
    """Networks with numbers of their own, gains and statistics of normalisations too."""
    torch.manual_seed(0)
    networks = [make().train() for _ in range(NUM)]
    for tensor in (t for n in networks for t in (*n.parameters(), *n.buffers())):
        if tensor.is_floating_point():
            tensor.data.uniform_(0.5, 1.5)
    return networks


def stacked(networks):
    names = [name for name, _ in (*networks[0].named_parameters(), *networks[0].named_buffers())]
    held = [{**dict(n.named_parameters()), **dict(n.named_buffers())} for n in networks]
    tensors = {name: stack_([of_one[name] for of_one in held]) for name in names}
    for name, _ in networks[0].named_parameters():
        tensors[name].requires_grad_()
    return tensors


@pytest.mark.parametrize("way", ["at once", "under vmap"])
@pytest.mark.parametrize("kind", NETWORKS)
def test_outputs_gradients_and_statistics_are_those_of_each_member_alone(kind, way):
    networks = members(NETWORKS[kind])
    shape = (5, 1, 1) if kind == "flattened images" else (5,)
    inputs = torch.randn(NUM, BATCH, *shape, requires_grad=True)
    expected, slopes = [], []
    for network, own in zip(copy.deepcopy(networks), inputs, strict=True):
        outputs = network(own)
        wanted = [inputs, *network.parameters()]
        slopes.append(torch.autograd.grad(outputs.square().sum(), wanted))
        expected.append((outputs.detach(), list(network.buffers())))
    tensors = stacked(networks)
    draws = Draws(range(NUM), CPU)
    template = copy.deepcopy(networks[0])
    taken = by_hand(template, tensors, draws)
    assert taken == tensors.keys()
    assert [type(layer) for layer in template] == [Chain]
    if way == "at once":
        outputs = template(inputs)
    else:

        def one(lane, own):
            draws.lane = lane
            return functional_call(template, {}, (own,))

        outputs = vmap(one)(torch.arange(NUM), inputs)
    own = [tensors[name] for name, _ in networks[0].named_parameters()]
    found = torch.autograd.grad(outputs.square().sum(), [inputs, *own])
    torch.testing.assert_close(outputs, torch.stack([o for o, _ in expected]))
    torch.testing.assert_close(found[0], sum(of_one[0] for of_one in slopes))
    for of_all, *of_each in zip(found[1:], *(of_one[1:] for of_one in slopes), strict=True):
        torch.testing.assert_close(of_all, torch.stack(of_each))
        assert of_all.is_contiguous()  # as the parameters: what the optimizer's kernels want
    for network, (_, buffers) in zip(networks, expected, strict=True):
        for mine, theirs in zip(network.buffers(), buffers, strict=True):
            torch.testing.assert_close(mine, theirs)


@pytest.mark.parametrize("way", ["at once", "under vmap"])
def test_dropout_is_to_the_bit_what_each_seed_drops_alone(way):
    rates, seeds, step = (0.3, 0.5, 0.3), (7, 8, 9), 4
    networks = [nn.Sequential(nn.Linear(5, 40), nn.ReLU(), nn.Dropout(p)) for p in rates]
    inputs = torch.randn(NUM, BATCH, 5)
    expected = []
    for network, own, seed in zip(networks, inputs, seeds, strict=True):
        reseed_global(seed, "step", step, device=CPU)
        expected.append(network(own))
    draws = Draws(seeds, CPU)
    template = copy.deepcopy(networks[0])
    template[2].p = Each(rates)
    by_hand(template, stacked(networks), draws)
    for number in (step - 1, step):
        draws.begin(number)
        if way == "at once":
            found = template(inputs)
        else:

            def one(lane, own):
                draws.lane = lane
                return template(own)

            found = vmap(one)(torch.arange(NUM), inputs)
        assert torch.equal(found == 0, torch.stack(expected) == 0) == (number == step)
    torch.testing.assert_close(found, torch.stack(expected))


def test_what_is_unknown_is_left_to_vmap_under_its_own_names():
    network = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.ReLU(), nn.Conv2d(2, 2, 1))
    network.append(nn.BatchNorm2d(2, momentum=None))
    tensors = stacked([network])
    taken = by_hand(network, tensors, Draws((0,), CPU))
    assert {name.split(".")[0] for name in taken} == {"1"}
    left = {name.split(".")[0] for name in tensors.keys() - taken}
    assert left == {"0", "3", "4"}
    assert left == {name.split(".")[0] for name, _ in network.named_parameters()}

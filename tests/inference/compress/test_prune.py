"""A pruned network is the old one whose weakest channels say nothing."""

import copy

import pytest
import torch
from torch import nn

from trainwright.inference.compress.prune import left, pruned_weights
from trainwright.nn.cnn import CNN
from trainwright.nn.cnn1d import CNN1D
from trainwright.nn.mlp import MLP

pytestmark = [pytest.mark.numeric, pytest.mark.usefixtures("doubles")]
WEIGHED = (nn.Conv1d, nn.Conv2d, nn.Linear)
NORMS = (nn.BatchNorm1d, nn.BatchNorm2d)
IMAGE, SERIES, ROW = (2, 9, 9), (12, 2), (5,)


def networks():
    cnn = {"input_shape": IMAGE, "num_outputs": 3, "channels": (6, 5), "dense": (7,)}
    yield CNN, {**cnn, "norm": "batch", "convs_per_stage": 2}, ("channels", "dense")
    yield CNN, {**cnn, "activation": "tanh"}, ("channels", "dense")
    series = {"input_shape": SERIES, "num_outputs": 3, "channels": (6, 4), "kernel": 3}
    yield CNN1D, series, ("channels",)
    yield MLP, {"input_shape": ROW, "num_outputs": 2, "widths": (8, 6)}, ("widths",)


def masked(network, share):
    """The network with the weakest channels of each layer but the last set to 0, by hand."""
    network = copy.deepcopy(network)
    layers = [m for m in network.modules() if isinstance(m, (*WEIGHED, *NORMS))]
    before, gone = 0, None
    with torch.no_grad():
        for place, layer in enumerate(layers[:-1]):
            if isinstance(layer, NORMS):
                layer.weight[gone] = layer.bias[gone] = 0
                continue
            # What comes from a channel that is gone must not make another one strong.
            weight = layer.weight.clone()
            if gone is not None:
                weight.view(len(weight), before, -1)[:, gone] = 0
            strength = weight.abs().flatten(1).sum(1)
            if isinstance(layers[place + 1], NORMS):
                norm = layers[place + 1]
                strength *= norm.weight.abs() / (norm.running_var + norm.eps).sqrt()
            before = len(weight)
            gone = strength.argsort()[: before - left(before, share)]
            layer.weight[gone] = 0
            if layer.bias is not None:
                layer.bias[gone] = 0
    return network


@pytest.mark.parametrize(("kind", "settings", "widths"), list(networks()))
def test_it_says_what_the_masked_network_says(kind, settings, widths):
    torch.manual_seed(0)
    network = kind(**settings)
    x = torch.randn(16, *settings["input_shape"])
    for module in network.modules():
        if isinstance(module, NORMS):
            nn.init.uniform_(module.weight, 0.5, 2)
            nn.init.normal_(module.bias)
    network.train()(x)  # so that running statistics are not all alike
    network.eval()
    assert kind.prunable == widths
    fewer = {name: tuple(left(width, 0.5) for width in settings[name]) for name in widths}
    small = kind(**{**settings, **fewer}).eval()
    small.load_state_dict(pruned_weights(network, 0.5))
    with torch.no_grad():
        torch.testing.assert_close(small(x), masked(network, 0.5)(x))
        assert (small(x) - network(x)).abs().max() > 1e-3


def test_at_least_one_channel_is_left():
    assert [left(width, 0.5) for width in (64, 5, 1)] == [32, 2, 1]
    assert left(3, 0.99) == 1

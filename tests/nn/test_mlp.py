import pytest
import torch
from torch import nn

from trainwright.nn.mlp import MLP

pytestmark = [pytest.mark.numeric, pytest.mark.usefixtures("doubles")]


def num_parameters(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


@pytest.mark.parametrize("input_shape", [(13,), (1, 28, 28), (3, 7, 5)])
@pytest.mark.parametrize("norm", [None, "batch", "layer"])
@pytest.mark.parametrize("widths", [(), (8,), (9, 7, 5)])
def test_maps_any_shape_to_the_outputs(input_shape, norm, widths):
    model = MLP(input_shape=input_shape, num_outputs=4, widths=widths, norm=norm, dropout=0.5)
    assert model(torch.randn(6, *input_shape)).shape == (6, 4)


@pytest.mark.parametrize("activation", ["relu", "leaky_relu", "gelu", "silu", "sigmoid", "tanh"])
@pytest.mark.parametrize("norm", [None, "batch", "layer"])
def test_every_parameter_receives_a_gradient(activation, norm):
    torch.manual_seed(0)
    model = MLP(input_shape=(6,), num_outputs=3, widths=(8, 8), activation=activation, norm=norm)
    model(torch.randn(16, 6)).square().sum().backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in model.parameters())


def test_parameters_of_the_default_are_those_counted_by_hand():
    model = MLP(input_shape=(1, 28, 28), num_outputs=10)
    assert num_parameters(model) == 784 * 512 + 512 + 512 * 256 + 256 + 256 * 10 + 10


def test_equals_the_plain_sequence_of_its_layers():
    """No hidden reordering: the outputs are those of matrix products written out."""
    model = MLP(input_shape=(2, 3), num_outputs=2, widths=(5,), activation="tanh")
    first, last = (layer for layer in model.modules() if isinstance(layer, nn.Linear))
    inputs = torch.randn(4, 2, 3)
    hidden = torch.tanh(inputs.reshape(4, 6) @ first.weight.T + first.bias)
    torch.testing.assert_close(model(inputs), hidden @ last.weight.T + last.bias)


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ({"activation": "rleu"}, "relu, leaky_relu"),
        ({"norm": "group"}, "batch, layer, null"),
        ({"dropout": 1.0}, "value < 1"),
        ({"widths": (5, 0)}, "widths"),
    ],
)
def test_a_wrong_setting_is_refused_with_the_valid_ones(setting, message):
    with pytest.raises(ValueError, match=message):
        MLP(input_shape=(4,), num_outputs=2, **setting)

import pytest
import torch

from trainwright.nn.cnn import CNN

pytestmark = [pytest.mark.numeric, pytest.mark.usefixtures("doubles")]


@pytest.mark.parametrize(
    "input_shape", [(1, 4, 4), (1, 8, 8), (1, 28, 28), (3, 32, 32), (3, 21, 64)]
)
@pytest.mark.parametrize("norm", [None, "batch", "layer"])
def test_maps_images_of_many_sizes_to_the_outputs(input_shape, norm):
    model = CNN(input_shape=input_shape, num_outputs=7, channels=(4, 8, 8), norm=norm, dropout=0.25)
    assert model(torch.randn(3, *input_shape)).shape == (3, 7)


@pytest.mark.parametrize("activation", ["relu", "leaky_relu", "gelu", "silu", "sigmoid", "tanh"])
@pytest.mark.parametrize("norm", [None, "batch", "layer"])
def test_every_parameter_receives_a_gradient(activation, norm):
    torch.manual_seed(0)
    model = CNN(
        input_shape=(1, 12, 12),
        num_outputs=3,
        channels=(4, 6),
        convs_per_stage=2,
        dense=(8, 8),
        activation=activation,
        norm=norm,
    )
    model(torch.randn(16, 1, 12, 12)).square().sum().backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in model.parameters())


def test_parameters_of_the_default_are_those_counted_by_hand():
    """28 halves to 14, 7 and 3: the first dense layer sees 64 maps of 3x3."""
    model = CNN(input_shape=(1, 28, 28), num_outputs=10)
    convolutions = (9 * 1 * 32 + 32) + (9 * 32 * 64 + 64) + (9 * 64 * 64 + 64)
    dense = (64 * 3 * 3 * 64 + 64) + (64 * 10 + 10)
    assert sum(p.numel() for p in model.parameters()) == convolutions + dense


def test_dropout_acts_in_training_only():
    model = CNN(input_shape=(1, 8, 8), num_outputs=2, channels=(4,), dropout=0.5)
    images = torch.randn(8, 1, 8, 8)
    assert not torch.equal(model(images), model(images))
    model.eval()
    assert torch.equal(model(images), model(images))


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ({"input_shape": (1, 3, 28)}, "at least 4x4"),
        ({"input_shape": (30,)}, "use mlp"),
        ({"activation": "swish"}, "silu"),
        ({"norm": "instance"}, "batch, layer, null"),
        ({"dropout": -0.1}, "dropout"),
        ({"channels": ()}, "channels"),
        ({"convs_per_stage": 0}, "convs_per_stage"),
        ({"dense": (0,)}, "dense"),
    ],
)
def test_a_wrong_setting_is_refused_with_the_valid_ones(setting, message):
    with pytest.raises(ValueError, match=message):
        CNN(**{"input_shape": (1, 8, 8), "num_outputs": 2, **setting})

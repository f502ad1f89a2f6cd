import pytest
import torch
from torch import nn

from trainwright.nn.cnn1d import CNN1D

pytestmark = [pytest.mark.numeric, pytest.mark.usefixtures("doubles")]


@pytest.mark.parametrize("input_shape", [(1, 1), (3, 2), (16, 5), (101, 1)])
@pytest.mark.parametrize("norm", [None, "batch", "layer"])
def test_maps_series_of_many_lengths_to_the_outputs(input_shape, norm):
    model = CNN1D(input_shape=input_shape, num_outputs=4, channels=(3, 5), norm=norm, dropout=0.3)
    assert model(torch.randn(6, *input_shape)).shape == (6, 4)


def test_is_a_sum_over_steps_and_channels_then_the_mean_over_time():
    model = CNN1D(
        input_shape=(5, 2), num_outputs=3, channels=(4,), kernel=3, norm=None, activation="tanh"
    )
    convolution, head = model.features[0], model.head[-1]
    series = torch.randn(1, 5, 2)
    maps = torch.zeros(4, 5)
    for step in range(5):
        for offset in (-1, 0, 1):
            if 0 <= step + offset < 5:
                maps[:, step] += convolution.weight[:, :, offset + 1] @ series[0, step + offset]
    maps = torch.tanh(maps + convolution.bias[:, None])
    torch.testing.assert_close(model(series)[0], head.weight @ maps.mean(1) + head.bias)


def test_a_series_that_is_repeated_is_told_alike():
    """But for its two ends, where a convolution sees nothing beyond."""
    model = CNN1D(input_shape=(8, 1), num_outputs=2, channels=(4,), kernel=1, norm=None)
    series = torch.randn(3, 8, 1)
    torch.testing.assert_close(model(series), model(torch.cat([series, series], dim=1)))


def test_every_parameter_receives_a_gradient():
    torch.manual_seed(0)
    model = CNN1D(input_shape=(16, 2), num_outputs=3, channels=(4, 6, 6), activation="gelu")
    (model(torch.randn(8, 16, 2)) * torch.randn(8, 3)).sum().backward()
    assert all(p.grad.abs().sum() > 0 for p in model.parameters())
    assert sum(isinstance(module, nn.MaxPool1d) for module in model.modules()) == 2


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"kernel": 4}, "kernel=4 is even"),
        ({"channels": ()}, "channels"),
        ({"input_shape": (1, 8, 8)}, "time series"),
        ({"dropout": 1.0}, "value < 1"),
    ],
)
def test_a_wrong_setting_is_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        CNN1D(**{"input_shape": (8, 2), "num_outputs": 2, **settings})

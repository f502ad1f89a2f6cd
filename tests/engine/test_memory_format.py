"""Channels last is said by strides, and changes where numbers lie, not what they are."""

import pytest
import torch
from torch.nn import functional

from trainwright.engine.device import in_format


@pytest.mark.parametrize("num_channels", [1, 3])
def test_a_convolution_of_a_weight_that_is_channels_last_gives_maps_that_are(num_channels):
    images, weight = torch.randn(2, num_channels, 6, 6), torch.randn(4, num_channels, 3, 3)
    last = in_format(weight, torch.channels_last)
    assert torch.equal(last, weight)
    maps = functional.conv2d(images, last)
    assert maps.stride() == (64, 1, 16, 4)  # (2, 4, 4, 4), channels fastest
    torch.testing.assert_close(maps, functional.conv2d(images, weight))


def test_contiguous_leaves_maps_channels_first():
    weight = in_format(torch.randn(4, 1, 3, 3), torch.contiguous_format)
    assert functional.conv2d(torch.randn(2, 1, 6, 6), weight).is_contiguous()


def test_the_convolutions_of_a_run_on_grey_images_compute_channels_last(assembled):
    assembly = assembled("model=cnn", "trainer.memory_format=channels_last")
    seen = []
    network = assembly.state.task.model
    for module in network.modules():
        if isinstance(module, torch.nn.Conv2d):
            module.register_forward_hook(lambda _module, _inputs, maps: seen.append(maps))
    network(assembly.train.at(0).inputs)
    assert seen
    assert all(maps.is_contiguous(memory_format=torch.channels_last) for maps in seen)

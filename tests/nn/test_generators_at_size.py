"""Generators of images of 64x64 and 128x128: they build and learn, in memory that can be had."""

import itertools

import pytest
import torch
from torch.profiler import ProfilerActivity, profile

from trainwright.nn.generators.unet import UNet
from trainwright.nn.generators.vae import conv_vae


def peak(side, *, checkpoint_blocks):
    """Bytes that torch has at most given out at once in a step."""
    net = UNet(
        input_shape=(3, side, side), num_classes=0, width=16, checkpoint_blocks=checkpoint_blocks
    )
    num = 2 * (128 // side) ** 2
    points, times = torch.randn(num, 3, side, side), torch.rand(num)
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as seen:
        net(points, times).square().mean().backward()
    events = seen.profiler.kineto_results.events()  # what `seen.events()` has is summed up already
    given = sorted((e.start_ns(), e.nbytes()) for e in events if e.name() == "[memory]")
    return max(itertools.accumulate(size for _, size in given))


@pytest.mark.slow
@pytest.mark.parametrize("side", [64, 128])
def test_blocks_that_are_computed_again_take_half_of_the_memory(side):
    plain, again = (peak(side, checkpoint_blocks=flag) for flag in (False, True))
    assert plain > 2 * 16 * 64**2 * 4 * 20  # twenty maps of the first level, at least
    assert again < 0.6 * plain


@pytest.mark.parametrize("side", [64, 128])
def test_networks_of_large_images_have_weights_by_the_depth_and_a_gradient_everywhere(side):
    shape = (3, side, side)
    flow = UNet(input_shape=shape, num_classes=0, width=8)
    # Maps of patches of 2x2 are halved down to 4 places a side.
    assert len(flow.down) == {64: 4, 128: 5}[side]
    images, times = torch.rand(1, *shape) * 2 - 1, torch.rand(1)
    said = flow(images, times)
    assert said.shape == images.shape
    vae = conv_vae(input_shape=shape, num_classes=0, width=8, latent_dim=4)
    mean, _ = vae.encode(images, None)
    back = vae.decode(mean, None)
    assert back.shape == images.shape
    for network, loss in ((flow, said.square().mean()), (vae.decoder, back.square().mean())):
        grads = torch.autograd.grad(loss, list(network.parameters()))
        assert all(grad.isfinite().all() for grad in grads)

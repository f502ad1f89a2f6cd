"""Channels last is said by strides, and changes where numbers lie, not what they are."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import nn
from torch.nn import functional

from trainwright.engine.device.device import in_format
from trainwright.engine.fast.layout import keep_channels_last

pytestmark = pytest.mark.numeric


@pytest.mark.usefixtures("doubles")
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
    network(assembly.train.at(0)["inputs"])
    assert seen
    assert all(maps.is_contiguous(memory_format=torch.channels_last) for maps in seen)


class Watched(torch.autograd.Function):
    """Passes maps on, and notes in which order they and their gradient come by."""

    @staticmethod
    def forward(ctx, maps, seen):
        ctx.seen = seen
        seen.append(maps.stride())
        return maps.view_as(maps)

    @staticmethod
    def backward(ctx, gradient):
        ctx.seen.append(gradient.stride())
        return gradient, None


class FromFeaturesAndBack(nn.Module):
    def __init__(self):
        super().__init__()
        self.unflatten, self.flatten = nn.Unflatten(1, (3, 4, 5)), nn.Flatten()
        self.seen = []

    def forward(self, features):
        return self.flatten(torch.tanh(Watched.apply(self.unflatten(features), self.seen)))


def gradients_of(network, features):
    """First and second derivatives, as R1 wants them."""
    features = features.clone().requires_grad_()
    (first,) = torch.autograd.grad(network(features).pow(3).sum(), features, create_graph=True)
    return first, *torch.autograd.grad(first.square().sum(), features)


def test_maps_and_gradients_stay_channels_last_between_features_to_the_same_bits():
    plain, last = FromFeaturesAndBack(), FromFeaturesAndBack()
    keep_channels_last(last)
    features = torch.randn(2, 60)
    assert torch.equal(last(features), plain(features))
    for mine, reference in zip(
        gradients_of(last, features), gradients_of(plain, features), strict=True
    ):
        assert torch.equal(mine, reference)
    first, later = last.seen[1:3], plain.seen[1:3]  # maps, and their gradient
    assert first == [(60, 1, 15, 3)] * 2
    assert later == [(60, 20, 5, 1)] * 2


def test_flatten_and_unflatten_of_what_is_no_map_are_left_alone():
    network = nn.Sequential(nn.Unflatten(1, (2, 3)), nn.Flatten())
    keep_channels_last(network)
    features = torch.randn(4, 6, requires_grad=True)
    network(features).sum().backward()
    assert torch.equal(network(features), features)


@pytest.mark.parametrize(("width", "layout"), [(2, "contiguous"), (7, "contiguous"), (8, "last")])
def test_a_network_that_crashes_channels_last_computes_channels_first(assembled, width, layout):
    narrow = ("model=resnet", "trainer.device=cpu", f"model.width={width}")
    placement = assembled(*narrow, "model.blocks_per_stage=1").state.placement
    assert layout in placement.describe()


@pytest.mark.skipif(not torch.cpu._is_avx2_supported(), reason="oneDNN on x86")
@pytest.mark.parametrize(("width", "layout"), [(7, "contiguous (channels_last"), (8, "last")])
def test_nor_is_it_made_to_crash_where_channels_last_is_typed(
    assembled, width, layout, monkeypatch
):
    monkeypatch.setenv("ONEDNN_MAX_CPU_ISA", "AVX2")  # no AVX-512, whatever this processor has
    typed = ("trainer.memory_format=channels_last", "trainer.precision=fp32")
    narrow = ("model=resnet", "trainer.device=cpu", f"model.width={width}")
    placement = assembled(*narrow, "model.blocks_per_stage=1", *typed).state.placement
    assert layout in placement.describe()


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="oneDNN on x86")
@pytest.mark.parametrize("layout", ["auto", "channels_last"])
def test_it_trains_on_a_processor_without_avx512(layout, tmp_path):
    """A child, for what it guards against is a crash: with channels_last it ends with a signal."""
    typed = ["model=resnet", "model.width=2", "data=digits", "trainer=smoke", "trainer.plots=false"]
    typed += [f"trainer.memory_format={layout}", "trainer.precision=fp32"]
    done = subprocess.run(
        [Path(sys.executable).with_name("train"), *typed],
        cwd=tmp_path,
        env={**os.environ, "ONEDNN_MAX_CPU_ISA": "AVX2", "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr

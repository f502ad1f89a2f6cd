import pytest
import torch
from torch import nn

from trainwright.nn.resnet import ResNet

pytestmark = pytest.mark.numeric


@pytest.mark.parametrize("input_shape", [(1, 8, 8), (1, 28, 28), (3, 32, 32), (3, 64, 64)])
@pytest.mark.parametrize("preactivation", [False, True])
def test_maps_images_of_many_sizes_to_the_outputs(input_shape, preactivation):
    model = ResNet(
        input_shape=input_shape,
        num_outputs=5,
        blocks_per_stage=1,
        width=4,
        preactivation=preactivation,
    )
    assert model(torch.randn(2, *input_shape)).shape == (2, 5)


@pytest.mark.parametrize("preactivation", [False, True])
def test_every_parameter_receives_a_gradient(preactivation):
    torch.manual_seed(0)
    model = ResNet(
        input_shape=(3, 16, 16),
        num_outputs=3,
        blocks_per_stage=2,
        width=4,
        preactivation=preactivation,
    )
    model(torch.randn(8, 3, 16, 16)).square().sum().backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in model.parameters())


@pytest.mark.parametrize(("blocks", "layers"), [(3, 20), (5, 32), (9, 56)])
def test_depth_is_that_of_the_paper(blocks, layers):
    """He et al. 2015 section 4.2: 6n + 2 layers with weights, not counting shortcuts."""
    model = ResNet(input_shape=(3, 32, 32), num_outputs=10, blocks_per_stage=blocks)
    kernels = [m for m in model.modules() if isinstance(m, nn.Conv2d) and m.kernel_size == (3, 3)]
    assert len(kernels) + 1 == layers


def test_parameters_are_those_counted_by_hand():
    """The paper's table 6 gives 0.27 M for 20 layers; option B shortcuts add 2,752."""
    model = ResNet(input_shape=(3, 32, 32), num_outputs=10)
    stem = 9 * 3 * 16 + 32
    stages = 0
    for wide, narrow in [(16, 16), (32, 16), (64, 32)]:
        stages += 9 * narrow * wide + 5 * 9 * wide * wide + 6 * 2 * wide
    shortcuts = (16 * 32 + 64) + (32 * 64 + 128)
    head = 64 * 10 + 10
    assert sum(p.numel() for p in model.parameters()) == stem + stages + shortcuts + head


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ({"input_shape": (1, 7, 28)}, "at least 8x8"),
        ({"input_shape": (30,)}, "use mlp"),
        ({"blocks_per_stage": 0}, "blocks_per_stage"),
        ({"width": 0}, "width"),
    ],
)
def test_a_wrong_setting_is_refused_with_the_valid_ones(setting, message):
    with pytest.raises(ValueError, match=message):
        ResNet(**{"input_shape": (1, 8, 8), "num_outputs": 2, **setting})

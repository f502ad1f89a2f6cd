import numpy as np
import pytest
import torch

from trainwright.nn.airbench import AirbenchNet
from trainwright.nn.whitening import Whitening

pytestmark = [pytest.mark.numeric, pytest.mark.usefixtures("doubles")]


def photographs(num=60, channels=3, size=10):
    """Images of mean 0 in which neighbours are alike, as in photographs."""
    noise = torch.randn(
        num, channels, size + 2, size + 2, generator=torch.Generator().manual_seed(1)
    )
    images = torch.nn.functional.avg_pool2d(noise, 3, stride=1)
    return images - images.mean(dim=(0, 2, 3), keepdim=True)


def patches_of(images, size):
    """Every patch as a row (channels x size x size), cut out one by one."""
    _, _, height, width = images.shape
    rows = [
        image[:, y : y + size, x : x + size].reshape(-1)
        for image in images.numpy().astype(np.float64)
        for y in range(height - size + 1)
        for x in range(width - size + 1)
    ]
    return np.array(rows)


@pytest.mark.parametrize(("channels", "size"), [(3, 2), (1, 3)])
def test_whitened_patches_are_uncorrelated_with_variance_one(channels, size):
    images = photographs(channels=channels)
    layer = Whitening(channels, kernel_size=size, eps=0.0)
    layer.fit(images)
    num = channels * size**2
    filters = layer.weight.reshape(2 * num, -1).double().numpy()
    moments = patches_of(images, size)
    seen = moments @ filters[:num].T
    assert np.allclose(seen.T @ seen / len(seen), np.eye(num), atol=1e-9)
    assert np.array_equal(filters[num:], -filters[:num])


def test_a_direction_in_which_nothing_varies_is_not_blown_up():
    """A variance of v comes out as v / (v + eps): 1 where there is any, and 0 rather than noise."""
    grey = photographs(channels=1).expand(-1, 3, -1, -1).contiguous()
    layer = Whitening(3, eps=5e-4)
    layer.fit(grey)
    rows = patches_of(grey, 2)
    variances = np.linalg.eigvalsh(rows.T @ rows / len(rows))
    filters = layer.weight.reshape(24, -1).double().numpy()[:12]
    seen = np.square(rows @ filters.T).mean(axis=0)
    assert np.allclose(np.sort(seen), np.sort(variances / (variances + 5e-4)), atol=1e-9)
    assert (seen < 1e-6).sum() == 8  # three channels that say the same


def test_whitening_convolves_as_torch_does_and_learns_its_bias_alone():
    layer = Whitening(3)
    layer.fit(photographs())
    images = photographs(4)
    plain = torch.nn.Conv2d(3, 24, 2)
    plain.load_state_dict(layer.state_dict())
    assert torch.equal(layer(images), plain(images))
    assert [name for name, _ in layer.named_parameters()] == ["bias"]


def test_the_filters_are_those_of_the_images_whole_or_in_pieces(monkeypatch):
    whole, pieces = Whitening(3), Whitening(3)
    whole.fit(photographs())
    monkeypatch.setattr("trainwright.nn.whitening.MOST_PATCH_BYTES", 1)
    pieces.fit(photographs())
    # Which of a direction and its opposite comes first is the processor's own.
    same = (whole.weight * pieces.weight).sum(dim=(1, 2, 3), keepdim=True).sign()
    torch.testing.assert_close(whole.weight, same * pieces.weight)


@pytest.mark.parametrize("input_shape", [(3, 32, 32), (1, 28, 28), (1, 8, 8), (3, 3, 64)])
def test_maps_images_of_many_sizes_to_the_outputs(input_shape):
    model = AirbenchNet(input_shape=input_shape, num_outputs=7, widths=(4, 8, 8))
    assert model(torch.randn(3, *input_shape)).shape == (3, 7)


def test_the_default_learns_as_many_numbers_as_the_published_network():
    """Counted by hand, as in Jordan 2024: 24 biases, six convolutions, their biases, the head."""
    model = AirbenchNet(input_shape=(3, 32, 32), num_outputs=10)
    convolutions = 9 * (24 * 64 + 64 * 64 + 64 * 256 + 3 * 256 * 256)
    biases = 24 + 2 * (64 + 256 + 256)
    learned = sum(p.numel() for p in model.parameters() if p.requires_grad)
    assert learned == convolutions + biases + 256 * 10


def test_convolutions_begin_by_passing_their_inputs_on():
    torch.manual_seed(0)
    model = AirbenchNet(input_shape=(3, 32, 32), num_outputs=10)
    first, *_ = (m for m in model.features if isinstance(m, torch.nn.Conv2d))
    maps = torch.randn(2, 24, 5, 5)
    outputs = first(maps)
    torch.testing.assert_close(outputs[:, :24], maps)
    assert (outputs[:, 24:64] - outputs[:, :40]).abs().mean() > 0.1


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ({"input_shape": (3, 2, 32)}, "at least 3x3"),
        ({"input_shape": (30,)}, "use mlp"),
        ({"widths": ()}, "widths"),
        ({"patch": 0}, "patch"),
        ({"batch_norm_momentum": 0.0}, "batch_norm_momentum"),
    ],
)
def test_a_wrong_setting_is_refused_with_what_is_right(setting, message):
    with pytest.raises(ValueError, match=message):
        AirbenchNet(**{"input_shape": (3, 32, 32), "num_outputs": 10, **setting})

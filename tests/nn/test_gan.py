import itertools

import pytest
import torch

from trainwright.nn.conv_gan import conv_gan
from trainwright.nn.gan import GAN
from trainwright.nn.mlp_gan import mlp_gan

pytestmark = [pytest.mark.numeric, pytest.mark.usefixtures("doubles")]
IMAGE_SHAPES = [(1, 8, 8), (1, 28, 28), (3, 32, 32), (3, 64, 64), (1, 16, 24), (3, 20, 40)]


def play(gan: GAN, batch: int = 4) -> tuple[torch.Tensor, torch.Tensor]:
    classes = torch.arange(batch) % gan.num_classes if gan.num_classes else None
    images = gan.generator(torch.randn(batch, gan.latent_dim), classes)
    return images, gan.discriminator(images, classes)


def small_gans() -> list[GAN]:
    options = itertools.product((0, 3), ("transposed", "nearest"), ("batch", "layer", None))
    gans = [
        conv_gan(
            input_shape=(1, 8, 8),
            num_classes=num_classes,
            width=4,
            latent_dim=5,
            upsampling=upsampling,
            generator_norm=norm,
            discriminator_norm=None if norm == "batch" else "layer",
            spectral_norm=norm == "layer",
        )
        for num_classes, upsampling, norm in options
    ]
    for num_classes, norm in itertools.product((0, 3), ("batch", "layer", None)):
        gans.append(
            mlp_gan(
                input_shape=(1, 5, 7),
                num_classes=num_classes,
                latent_dim=5,
                generator_norm=norm,
                spectral_norm=norm is None,
            )
        )
    return gans


@pytest.mark.parametrize("image_shape", IMAGE_SHAPES)
@pytest.mark.parametrize("upsampling", ["transposed", "nearest"])
@pytest.mark.parametrize("num_classes", [0, 10])
def test_the_generator_draws_images_of_the_data_s_shape(image_shape, upsampling, num_classes):
    gan = conv_gan(input_shape=image_shape, num_classes=num_classes, width=4, upsampling=upsampling)
    images, logits = play(gan)
    assert gan.image_shape == image_shape
    assert images.shape == (4, *image_shape)
    assert images.abs().max() <= 1
    assert logits.shape == (4,)


@pytest.mark.parametrize("image_shape", [(1, 8, 8), (3, 7, 5), (1, 28, 28)])
@pytest.mark.parametrize("num_classes", [0, 10])
def test_the_dense_pair_takes_any_size(image_shape, num_classes):
    images, logits = play(mlp_gan(input_shape=image_shape, num_classes=num_classes))
    assert images.shape == (4, *image_shape)
    assert images.abs().max() <= 1
    assert logits.shape == (4,)


def test_every_parameter_receives_a_gradient():
    torch.manual_seed(0)
    for gan in small_gans():
        images, logits = play(gan, batch=8)
        (logits.square().sum() + images.square().sum()).backward()
        for name, parameter in gan.named_parameters():
            assert parameter.grad is not None, name
            assert parameter.grad.abs().sum() > 0, name


def test_the_discriminator_treats_examples_independently():
    """A gradient penalty per example needs this: the logits of one do not move with another."""
    torch.manual_seed(0)
    for gan in small_gans():
        discriminator = gan.discriminator.eval()
        images = torch.randn(6, *gan.image_shape)
        classes = torch.tensor([0, 1, 2, 0, 1, 2]) if gan.num_classes else None
        together = discriminator(images, classes)
        alone = discriminator(images[2:3], None if classes is None else classes[2:3])
        torch.testing.assert_close(together[2:3], alone)


def test_the_class_matters_to_both_players():
    torch.manual_seed(0)
    for make in (conv_gan, mlp_gan):
        gan = make(input_shape=(1, 8, 8), num_classes=2).eval()
        latents, images = torch.randn(1, gan.latent_dim), torch.randn(1, 1, 8, 8)
        zero, one = torch.tensor([0]), torch.tensor([1])
        assert not torch.equal(gan.generator(latents, zero), gan.generator(latents, one))
        assert not torch.equal(gan.discriminator(images, zero), gan.discriminator(images, one))


def test_conditional_follows_the_data_unless_told():
    for make in (conv_gan, mlp_gan):
        assert make(input_shape=(1, 8, 8), num_classes=4).num_classes == 4
        assert make(input_shape=(1, 8, 8), num_classes=0).num_classes == 0
        assert make(input_shape=(1, 8, 8), num_classes=4, conditional=False).num_classes == 0
        assert make(input_shape=(1, 8, 8), num_classes=4, conditional=True).num_classes == 4
        with pytest.raises(ValueError, match="classes"):
            make(input_shape=(1, 8, 8), num_classes=0, conditional=True)


def test_a_conditional_player_asks_for_the_classes():
    gan = mlp_gan(input_shape=(1, 8, 8), num_classes=4)
    with pytest.raises(ValueError, match="classes"):
        gan.generator(torch.randn(2, 100))
    with pytest.raises(ValueError, match="classes"):
        gan.discriminator(torch.randn(2, 1, 8, 8))


def test_parameters_of_the_dense_pair_are_those_counted_by_hand():
    gan = mlp_gan(input_shape=(1, 28, 28), num_classes=0, generator_norm=None)
    generator = (100 * 128 + 128) + (128 * 64 + 64) + (64 * 784 + 784)
    discriminator = (784 * 128 + 128) + (128 * 64 + 64) + (64 + 1)
    assert sum(p.numel() for p in gan.generator.parameters()) == generator
    assert sum(p.numel() for p in gan.discriminator.parameters()) == discriminator


def test_spectral_norm_bounds_the_largest_singular_value():
    torch.manual_seed(0)
    gan = conv_gan(input_shape=(1, 8, 8), num_classes=0, width=4, spectral_norm=True)
    for _ in range(100):  # a step of the power iteration each: what is left of its error is 1e-2
        gan.discriminator(torch.randn(2, 1, 8, 8))
    for name, weight in [
        (n, m.weight)
        for n, m in gan.discriminator.named_modules()
        if hasattr(m, "parametrizations")
    ]:
        assert torch.linalg.matrix_norm(weight.flatten(1), ord=2).item() == pytest.approx(
            1, abs=1e-2
        ), name


@pytest.mark.parametrize("sides", [(7, 5), (28, 31), (8, 80), (36, 34), (4, 4)])
def test_sizes_that_do_not_halve_are_refused_with_those_that_do(sides):
    with pytest.raises(ValueError, match=r"8, 28, 32 or 64, not \d+x\d+; mlp_gan takes any size"):
        conv_gan(input_shape=(1, *sides), num_classes=0)


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ({"input_shape": (30,)}, "images"),
        ({"width": 0}, "width"),
        ({"latent_dim": 0}, "latent_dim"),
        ({"upsampling": "bilinear"}, "transposed, nearest"),
        ({"generator_norm": "group"}, "batch, layer, null"),
        ({"discriminator_norm": "batch"}, "layer, null"),
        ({"conditional": "yes"}, "true, false, auto"),
    ],
)
def test_a_wrong_setting_is_refused_with_the_valid_ones(setting, message):
    with pytest.raises(ValueError, match=message):
        conv_gan(**{"input_shape": (1, 8, 8), "num_classes": 2, **setting})

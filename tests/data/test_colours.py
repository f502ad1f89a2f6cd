"""Changes of colours and TrivialAugment's list, each held to Pillow's own."""

import math

import numpy as np
import pytest
import torch
from PIL import Image, ImageEnhance, ImageFilter, ImageOps

from trainwright.data.images.augment import Augment
from trainwright.data.images.colours import CHANGES, equalized, grey, jitter, trivial

NUM, SIDE = 6, 17


@pytest.fixture
def pixels():
    """(B, 3, H, W) from 0 to 1, in whole 255ths; some brightnesses are rare."""
    generator = torch.Generator().manual_seed(2)
    dark = torch.rand(NUM, 3, SIDE, SIDE + 4, generator=generator) ** 2
    return (20 + 190 * dark).round() / 255


def changed(pixels, name, strength, sign=1):
    which = (CHANGES.index(name) + 0.5) / len(CHANGES)
    way = 0.25 if sign < 0 else 0.75
    return trivial(pixels, torch.tensor([[which], [strength], [way]]).expand(3, len(pixels)))


def as_pillow(one):
    return Image.fromarray((one * 255).round().byte().permute(1, 2, 0).numpy())


def check(found, pixels, change, levels=1.01):
    """That pixels are those that Pillow makes, to so many of 255 levels: Pillow rounds to one."""
    for one, before in zip(found, pixels, strict=True):
        expected = torch.from_numpy(np.array(change(as_pillow(before))))
        difference = (one * 255 - expected.permute(2, 0, 1)).abs().max()
        assert float(difference) <= levels


def test_one_change_in_fourteen_leaves_an_image_as_it_is(pixels):
    assert torch.equal(changed(pixels, "identity", 0.8), pixels)


@pytest.mark.parametrize("sign", [1, -1])
@pytest.mark.parametrize(
    ("name", "enhance"),
    [
        ("brightness", ImageEnhance.Brightness),
        ("colour", ImageEnhance.Color),
        ("contrast", ImageEnhance.Contrast),
        ("sharpness", ImageEnhance.Sharpness),
    ],
)
def test_a_blend_is_pillow_s(pixels, name, enhance, sign):
    factor = 1 + sign * 0.5 * 0.99
    # Pillow rounds what it blends with, and factors of up to 2 enlarge that.
    check(changed(pixels, name, 0.5, sign), pixels, lambda im: enhance(im).enhance(factor), 2)


def test_sharpness_s_other_end_is_pillow_s_smooth_image(pixels):
    smooth = changed(pixels, "sharpness", 1.0, -1)  # 0.99 of it
    check(smooth, pixels, lambda im: im.filter(ImageFilter.SMOOTH), 1.01 + 0.01 * 255)


@pytest.mark.parametrize("strength", [0.0, 0.4, 1.0])
def test_posterized_and_solarized_are_pillow_s(pixels, strength):
    bits = 8 - round(strength * 6)
    check(changed(pixels, "posterize", strength), pixels, lambda im: ImageOps.posterize(im, bits),
          0.01)  # fmt: skip
    threshold = math.ceil((1 - strength) * 255 - 1e-4)
    check(changed(pixels, "solarize", strength), pixels,
          lambda im: ImageOps.solarize(im, threshold), 0.01)  # fmt: skip


def test_contrast_by_itself_and_equalize_are_pillow_s(pixels):
    check(changed(pixels, "contrast_by_itself", 0.3), pixels, ImageOps.autocontrast)
    check(changed(pixels, "equalize", 0.3), pixels, ImageOps.equalize, 0.01)
    flat = torch.full((2, 1, 5, 5), 0.5)
    assert torch.equal(equalized(flat), flat)
    assert torch.equal(changed(flat, "contrast_by_itself", 0.3), flat)


@pytest.mark.parametrize("sign", [1, -1])
def test_translations_move_by_pixels_and_let_black_in(pixels, sign):
    strength = 3 / SIDE  # as far as the image has pixels
    down = changed(pixels, "translate_y", strength, sign)
    expected = torch.zeros_like(pixels)
    if sign > 0:
        expected[:, :, 3:] = pixels[:, :, :-3]
    else:
        expected[:, :, :-3] = pixels[:, :, 3:]
    torch.testing.assert_close(down, expected, atol=1e-5, rtol=0)


def test_turns_and_shears_keep_the_middle_and_go_both_ways():
    image = torch.zeros(1, 1, 21, 21)
    image[0, 0, 10, 10] = 1.0
    image[0, 0, 10, 15] = 1.0  # right of the middle
    turned = changed(image, "rotate", 90 / 135)
    assert turned[0, 0, 10, 10] == pytest.approx(1, abs=1e-4)
    at = {tuple(place) for place in (turned[0, 0] > 0.9).nonzero().tolist()}
    assert at == {(10, 10), (5, 10)}
    assert changed(image, "rotate", 90 / 135, -1)[0, 0, 15, 10] > 0.9
    image = torch.zeros(1, 1, 21, 21)
    image[0, 0, 4] = 1.0  # a line above the middle
    sheared = changed(image, "shear_y", 0.5 / 0.99)[0, 0]
    heights = [int(sheared[:, x].argmax()) for x in (4, 16)]
    assert heights == [7, 1] or heights == [1, 7]


def test_a_jitter_multiplies_brightness_contrast_and_saturation(pixels):
    draws = torch.tensor([[0.9], [0.1], [0.7]]).expand(3, NUM)
    brightness, contrast, saturation = (1 + (2 * d - 1) * 0.4 for d in (0.9, 0.1, 0.7))
    step = (pixels * brightness).clamp(0, 1)
    mean = grey(step).mean((1, 2, 3), keepdim=True)
    step = (mean + contrast * (step - mean)).clamp(0, 1)
    step = (grey(step) + saturation * (step - grey(step))).clamp(0, 1)
    torch.testing.assert_close(jitter(pixels, draws, 0.4), step)
    assert grey(pixels)[0, 0, 0, 0] == pytest.approx(
        float((pixels[0, :, 0, 0] * torch.tensor([0.299, 0.587, 0.114])).sum()), abs=1e-6
    )


def test_all_images_through_all_changes_come_to_the_same(pixels):
    """As on a GPU, where nothing waits to know which images are chosen."""
    many = pixels.repeat(50, 1, 1, 1)
    draws = torch.rand(3, len(many), generator=torch.Generator().manual_seed(3))
    picked, whole = (trivial(many, draws, picks=picks) for picks in (True, False))
    torch.testing.assert_close(picked, whole, atol=1e-5, rtol=0)
    assert not torch.equal(picked, many)


def augmented(images, **settings):
    return Augment(**settings)(images, torch.Generator().manual_seed(0))


def test_colours_change_what_a_network_sees_as_they_change_pixels(pixels):
    """Whatever the normalisation: black is `fill`, and white is `white`."""
    mean, std = torch.tensor([0.4, 0.5, 0.6]), torch.tensor([0.2, 0.3, 0.1])
    shape = (1, 3, 1, 1)
    seen = (pixels - mean.view(shape)) / std.view(shape)
    on_pixels = augmented(pixels, colour=0.5, trivial=True)
    as_seen = augmented(seen, colour=0.5, trivial=True, fill=-mean / std, white=(1 - mean) / std)
    back = as_seen * std.view(shape) + mean.view(shape)
    # Where a threshold decides, a rounding may decide otherwise: in few pixels.
    assert ((back - on_pixels).abs() > 1e-4).float().mean() < 0.02


def test_erasing_takes_boxes_of_the_size_that_the_paper_has():
    images = torch.ones(4000, 1, 32, 32)
    found = augmented(images, erase=0.25)
    share = 1 - found.mean(dim=(1, 2, 3))
    is_erased = share > 0
    deviation = (4000 * 0.25 * 0.75) ** 0.5
    assert abs(int(is_erased.sum()) - 1000) < 4 * deviation
    assert share.max() < 0.36  # a third, and a row and a column of rounding
    assert share[is_erased].mean() > 0.1
    assert set(found.unique().tolist()) == {0.0, 1.0}


def test_what_was_there_before_draws_what_it_always_drew(pixels):
    """The same runs of earlier versions go on to the bit, whatever is new."""
    old = augmented(pixels, shift=2, flip=0.5)
    torch.testing.assert_close(augmented(pixels, shift=2, flip=0.5, erase=1e-12), old)


@pytest.mark.parametrize("channels", [1, 2, 3])
def test_images_of_any_number_of_channels_are_changed(channels):
    images = torch.rand(14 * 30, channels, 8, 8)
    found = augmented(images, trivial=True, colour=0.3, erase=0.5)
    assert found.shape == images.shape
    assert found.isfinite().all()
    assert found.min() >= -1e-6
    assert found.max() <= 1 + 1e-6

import math

import numpy as np
import pytest
import torch
from PIL import Image

from trainwright.data.images.augment import Augment, make_augment
from trainwright.errors import ConfigError

pytestmark = pytest.mark.numeric
OFF = {"shift": 0, "crop": 0, "flip": False, "rotate": 0, "scale": 0, "cutout": 0}


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def distinct(batch=64, channels=2, height=6, width=9):
    """Images in which no two pixels are alike, so that every result tells its origin."""
    count = batch * channels * height * width
    return torch.arange(1.0, count + 1).view(batch, channels, height, width)


def test_everything_off_is_no_augmentation():
    assert make_augment(OFF, input_shape=(1, 8, 8)) is None
    assert make_augment({}, input_shape=(1, 8, 8)) is None
    assert make_augment(None, input_shape=(1, 8, 8)) is None
    assert make_augment({"shift": False, "flip": 0.0}, input_shape=(1, 8, 8)) is None


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"shfit": 2}, "did you mean shift"),
        ({"shift": 8}, "between 0 and 7"),
        ({"shift": 1.5}, "whole number of pixels"),
        ({"shift": "2"}, "augment.shift is '2'"),
        ({"crop": -1}, "crop is -1; it must be a whole number of pixels of at least 0$"),
        ({"crop": True}, "augment.crop"),
        ({"flip": 1.5}, "between 0 and 1"),
        ({"flip": "yes"}, "augment.flip"),
        ({"flip": "alternate"}, "did you mean alternating"),
        ({"rotate": float("nan")}, "augment.rotate"),
        ({"rotate": 181}, "augment.rotate"),
        ({"scale": 1}, "augment.scale"),
        ({"cutout": 9}, "augment.cutout"),
    ],
)
def test_a_wrong_key_or_value_is_a_config_error(settings, message):
    with pytest.raises(ConfigError, match=message):
        make_augment({**OFF, **settings}, input_shape=(1, 8, 8))


def test_augmenting_a_table_is_a_config_error():
    with pytest.raises(ConfigError, match="images"):
        make_augment({"shift": 1}, input_shape=(30,))


ALL = {"shift": 2, "crop": 2, "flip": True, "rotate": 20, "scale": 0.2, "cutout": 3}


@pytest.mark.parametrize("settings", [{key: ALL[key]} for key in ALL] + [ALL])
def test_the_generator_alone_decides_and_input_and_global_state_are_left_alone(settings):
    augment = make_augment(settings, input_shape=(2, 6, 9), fill=-1.0)
    images = distinct()
    kept = images.clone()
    state = torch.get_rng_state()
    first, again, other = (augment(images, generator(seed)) for seed in (1, 1, 2))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert not torch.equal(first, images)
    assert torch.equal(images, kept)
    assert torch.equal(torch.get_rng_state(), state)
    assert (first.shape, first.dtype) == (images.shape, images.dtype)


def test_shift_moves_each_image_by_whole_pixels_and_fills_with_the_background():
    images, fill = distinct(batch=400), torch.tensor([-1.0, -2.0])
    result = Augment(shift=2, fill=fill)(images, generator())
    seen = set()
    for image, moved in zip(images, result, strict=True):
        matches = []
        for dy in range(-2, 3):
            for dx in range(-2, 3):
                expected = fill[:, None, None].expand(2, 6, 9).clone()
                top, left = max(0, dy), max(0, dx)
                part = image[:, max(0, -dy) : 6 - top, max(0, -dx) : 9 - left]
                expected[:, top : top + part.shape[1], left : left + part.shape[2]] = part
                if torch.equal(moved, expected):
                    matches.append((dy, dx))
        assert len(matches) == 1
        seen.update(matches)
    assert len(seen) == 25  # every offset occurs


def test_crop_is_a_random_window_of_the_image_mirrored_at_its_border():
    images = distinct(batch=200)
    result = Augment(crop=2)(images, generator())
    padded = np.pad(images.numpy(), ((0, 0), (0, 0), (2, 2), (2, 2)), mode="reflect")
    seen = set()
    for number, window in enumerate(result.numpy()):
        places = [(y, x) for y in range(5) for x in range(5)]
        matches = [
            (y, x)
            for y, x in places
            if np.array_equal(window, padded[number, :, y : y + 6, x : x + 9])
        ]
        assert len(matches) == 1
        seen.update(matches)
    assert len(seen) == 25


@pytest.mark.parametrize(("flip", "expected"), [(True, 0.5), (0.2, 0.2), (1.0, 1.0)])
def test_flip_mirrors_left_and_right_with_its_probability(flip, expected):
    images = distinct(batch=2000)
    result = make_augment({"flip": flip}, input_shape=(2, 6, 9))(images, generator())
    mirrored = (result == images.flip(3)).flatten(1).all(1)
    same = (result == images).flatten(1).all(1)
    assert (mirrored ^ same).all()
    assert mirrored.float().mean().item() == pytest.approx(expected, abs=0.04)


def test_rotation_agrees_with_pillow(monkeypatch):
    """Every image by the same 30 degrees, the draws being replaced: smooth, and not square."""
    y, x = torch.meshgrid(torch.linspace(-1, 1, 40), torch.linspace(-1, 1, 60), indexing="ij")
    smooth = (torch.exp(-8 * ((x - 0.3) ** 2 + (y + 0.2) ** 2)) * 200)[None, None]
    monkeypatch.setattr(torch, "rand", lambda *size, **_: torch.full(size, 1.0))
    ours = Augment(rotate=30)(smooth, generator())[0, 0].numpy()
    pillow = [
        np.asarray(Image.fromarray(smooth[0, 0].numpy()).rotate(d, Image.Resampling.BILINEAR))
        for d in (30, -30)
    ]
    differences = [np.abs(ours - reference).max() for reference in pillow]
    assert min(differences) < 2.0  # of 200
    assert max(differences) > 50  # the other direction would not pass


def test_scale_agrees_with_the_formula(monkeypatch):
    y, x = torch.meshgrid(torch.arange(40) - 19.5, torch.arange(60) - 29.5, indexing="ij")

    def blob(width):
        return torch.exp(-(x**2 + y**2) / (2 * width**2))[None, None]

    monkeypatch.setattr(torch, "rand", lambda *size, **_: torch.full(size, 1.0))
    ours = Augment(scale=0.5)(blob(4.0), generator())
    assert (ours - blob(6.0)).abs().max() < 0.02


def test_rotation_and_shift_together_turn_first_then_move(monkeypatch):
    image = torch.zeros(1, 1, 9, 11)
    image[0, 0, 1, 4] = 1.0  # above the middle, a little left
    least, most = 0.0, 1 - 1e-7
    # The draws in their order: flip, turn, size, shift down, shift right, and four not used here.
    draws = torch.tensor([least, most, least, most, least, *[least] * 4])[:, None]
    monkeypatch.setattr(torch, "rand", lambda *size, **_: draws)
    turned = Augment(rotate=180, shift=2)(image, generator())
    # Half a turn about (4, 5) takes row 1 to 7 and column 4 to 6; then 2 down is out, 1 is not.
    assert turned.abs().max() < 1e-4
    turned = Augment(rotate=180, shift=1)(image, generator())
    assert turned[0, 0, 7 + 1, 6 - 1].item() == pytest.approx(1, abs=1e-4)


def test_corners_that_a_turn_lays_bare_are_background(monkeypatch):
    monkeypatch.setattr(torch, "rand", lambda *size, **_: torch.full(size, 1.0))
    filled = Augment(rotate=45, fill=7.0)(torch.zeros(1, 1, 9, 9), generator())
    assert filled[0, 0, 0, 0].item() == pytest.approx(7.0)
    assert filled[0, 0, 4, 4].item() == pytest.approx(0.0, abs=1e-5)


def test_a_background_image_stays_background_whatever_is_done_to_it():
    fill = torch.tensor([-0.4, 1.5])
    images = fill[None, :, None, None].expand(16, 2, 6, 9).contiguous()
    result = make_augment(ALL, input_shape=(2, 6, 9), fill=fill)(images, generator())
    assert torch.allclose(result, images, atol=1e-6)


def test_cutout_blanks_one_square_whose_centre_may_be_anywhere():
    images = distinct(batch=500, height=10, width=10)
    result = Augment(cutout=4, fill=-1.0)(images, generator())
    areas = set()
    covered = torch.zeros(10, 10, dtype=torch.bool)
    for image, cut in zip(images, result, strict=True):
        hole = cut[0] == -1
        assert torch.equal(hole, cut[1] == -1)
        rows, columns = hole.any(1).sum().item(), hole.any(0).sum().item()
        assert 2 <= rows <= 4
        assert 2 <= columns <= 4
        assert hole.sum() == rows * columns
        assert torch.equal(cut[:, ~hole], image[:, ~hole])
        areas.add(rows * columns)
        covered |= hole
    assert 16 in areas
    assert covered.all()


def test_switching_one_change_on_leaves_the_draws_of_the_others_alone():
    images = distinct()
    alone = Augment(shift=2, fill=-1.0)(images, generator())
    with_cutout = Augment(shift=2, cutout=2, fill=-1.0)(images, generator())
    untouched = with_cutout != -1
    assert torch.equal(alone[untouched], with_cutout[untouched])


def test_one_pixel_wide_and_single_images_work():
    for shape in ((1, 1, 1, 5), (1, 3, 4, 4)):
        images = torch.rand(shape)
        assert Augment(crop=0, flip=1.0, cutout=1)(images, generator()).shape == shape
    assert math.isfinite(Augment(rotate=10)(torch.rand(1, 1, 4, 4), generator()).sum().item())

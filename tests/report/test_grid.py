"""Grids of images, checked pixel by pixel."""

import numpy as np
import pytest
import torch
from PIL import Image

from trainwright.report.plots.grid import image_grid, save_image

WHITE = (255, 255, 255)


def flat_images(values, *, size=(4, 4), channels=1):
    """Images of one colour each, uint8 (N, C, H, W)."""
    column = torch.tensor(values, dtype=torch.uint8)[:, None, None, None]
    return column.expand(-1, channels, *size)


def test_images_go_row_by_row_with_padding_between_and_around():
    grid = image_grid(flat_images([10, 20, 30, 40, 50]), columns=3, padding=2, scale=1)
    assert grid.size == (2 + 3 * 6, 2 + 2 * 6)
    pixels = np.asarray(grid)[..., 0]
    expected = np.full((14, 20), 255)
    for value, (top, left) in {10: (2, 2), 20: (2, 8), 30: (2, 14), 40: (8, 2), 50: (8, 8)}.items():
        expected[top : top + 4, left : left + 4] = value
    assert (pixels == expected).all()


def test_enlarging_repeats_each_pixel():
    image = torch.arange(6, dtype=torch.uint8).view(1, 1, 2, 3) * 40
    grid = image_grid(image, columns=1, padding=0, scale=5)
    expected = np.kron(image[0, 0].numpy(), np.ones((5, 5)))
    assert (np.asarray(grid)[..., 0] == expected).all()


@pytest.mark.parametrize(("side", "scale"), [(8, 6), (28, 2), (32, 2), (48, 1), (224, 1)])
def test_small_images_are_enlarged_to_be_seen(side, scale):
    grid = image_grid(flat_images([0], size=(side, side)), columns=1, padding=0)
    assert grid.size == (side * scale, side * scale)


def test_floats_mean_the_same_as_bytes_and_are_clipped():
    pixels = torch.arange(256, dtype=torch.uint8).view(1, 1, 16, 16)
    grid = image_grid(pixels, columns=1)
    for dtype in (torch.float32, torch.float64):
        assert image_grid(pixels.to(dtype) / 255, columns=1) == grid
    beyond = torch.tensor([-1.0, 2.0, float("nan"), float("inf")]).view(1, 1, 2, 2)
    clipped = np.asarray(image_grid(beyond, columns=1, padding=0, scale=1))[..., 0]
    assert clipped.tolist() == [[0, 255], [0, 255]]


def test_three_channels_are_red_green_and_blue():
    image = torch.tensor([10, 20, 30], dtype=torch.uint8).view(1, 3, 1, 1)
    assert image_grid(image, columns=1, padding=0, scale=1).getpixel((0, 0)) == (10, 20, 30)


def test_a_grid_is_no_wider_than_its_images():
    assert image_grid(flat_images([1, 2]), columns=8, padding=1, scale=1).size == (11, 6)


@pytest.mark.parametrize(
    ("images", "settings"),
    [
        (torch.zeros(4, 8, 8), {}),
        (torch.zeros(4, 2, 8, 8), {}),
        (torch.zeros(0, 1, 8, 8), {}),
        (torch.zeros(1, 1, 8, 8, dtype=torch.int64), {}),
        (torch.zeros(1, 1, 8, 8), {"columns": 0}),
        (torch.zeros(1, 1, 8, 8), {"padding": -1}),
        (torch.zeros(1, 1, 8, 8), {"scale": 0}),
    ],
)
def test_what_is_no_batch_of_images_is_refused(images, settings):
    with pytest.raises(ValueError, match=r"expected|scale"):
        image_grid(images, **{"columns": 2, **settings})


def test_a_saved_grid_reads_back_and_leaves_nothing_else(tmp_path):
    grid = image_grid(flat_images([10, 200]), columns=2)
    path = tmp_path / "samples" / "000500.png"
    save_image(Image.new("RGB", (3, 3)), path)
    save_image(grid, path)  # over the first
    with Image.open(path) as read:
        assert read.format == "PNG"
        assert read.convert("RGB") == grid
    assert [entry.name for entry in path.parent.iterdir()] == ["000500.png"]


def test_a_save_that_fails_leaves_the_old_picture(tmp_path, monkeypatch):
    path = tmp_path / "last.png"
    save_image(Image.new("RGB", (3, 3), WHITE), path)
    before = path.read_bytes()

    def fail_half_way(self, target, **_):
        target.write_bytes(b"half a picture")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Image.Image, "save", fail_half_way)
    with pytest.raises(OSError, match="No space"):
        save_image(Image.new("RGB", (3, 3)), path)
    assert path.read_bytes() == before
    assert [entry.name for entry in tmp_path.iterdir()] == ["last.png"]

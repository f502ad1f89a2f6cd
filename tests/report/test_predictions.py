"""The grid of predictions: an error shows, a right answer does not."""

import numpy as np
import pytest
import torch
from PIL import ImageFont

from trainwright.report.plots.predictions import FONT_SIZE, FRAME, RED, _caption, prediction_grid

PADDING = 6


def grid_pixels(predicted, true, **settings):
    images = torch.zeros(len(true), 1, 8, 8)
    correct = [p == t for p, t in zip(predicted, true, strict=True)]
    return np.asarray(prediction_grid(images, predicted, true, correct, **settings))


def redness(pixels):
    red, green, _ = np.moveaxis(pixels.astype(int), -1, 0)
    return (red - green).max()


def test_a_wrong_prediction_has_a_red_frame_and_a_red_caption_and_a_right_one_has_none():
    pixels = grid_pixels(["3", "7"], ["3", "1"], columns=2)
    right, wrong = np.split(pixels[:, PADDING // 2 : -(PADDING // 2)], 2, axis=1)
    side = 80 + 2 * FRAME  # 8x8 images are enlarged ten times

    framed = wrong[PADDING : PADDING + side, PADDING // 2 : PADDING // 2 + side]
    is_red = (framed == np.array(RED)).all(axis=-1)
    expected = np.ones((side, side), dtype=bool)
    expected[FRAME:-FRAME, FRAME:-FRAME] = False
    assert (is_red == expected).all()
    assert redness(wrong[PADDING + side :]) > 100  # its caption

    assert redness(right) == 0
    assert right[PADDING + side :].min() < 150  # its caption is there, and grey


def test_the_mask_may_be_a_tensor():
    images = torch.zeros(2, 3, 8, 8)
    grid = prediction_grid(images, ["a", "b"], ["a", "a"], torch.tensor([True, False]))
    assert redness(np.asarray(grid)) == RED[0] - RED[1]


@pytest.mark.parametrize("names", [("automobile", "truck"), ("x" * 60, "y" * 60), ("", "cat")])
def test_no_line_of_a_caption_is_wider_than_its_image(names):
    font = ImageFont.load_default(size=FONT_SIZE)
    predicted, true = names
    wrong = _caption(predicted, true, font, 86)
    right = _caption(predicted, None, font, 86)
    assert len(right) == 1
    assert len(wrong) <= 2
    assert all(font.getlength(line) <= 86 for line in [*wrong, *right])
    assert wrong[-1].endswith(")")


def test_lengths_that_differ_are_refused():
    with pytest.raises(ValueError, match="as many names"):
        prediction_grid(torch.zeros(2, 1, 8, 8), ["a"], ["a", "b"], [True, True])

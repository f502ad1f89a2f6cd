import pytest
import torch

from trainwright.tasks.gan.views import View, color, cutout, translation

pytestmark = [pytest.mark.numeric, pytest.mark.usefixtures("doubles")]


@pytest.mark.parametrize("change", [color, translation, cutout])
@pytest.mark.parametrize("shape", [(64, 1, 8, 8), (64, 3, 12, 10)])
def test_a_change_keeps_the_shape_and_every_example_draws_its_own(change, shape):
    torch.manual_seed(0)
    image = torch.rand(1, *shape[1:]) + 0.5
    changed = change(image.expand(shape))
    assert changed.shape == shape
    assert len(changed.unique(dim=0)) >= 9  # as many as there are ways to move 8x8 by a pixel


def test_color_is_a_rising_line_of_each_pixel_about_the_paper_s_means():
    """On grey, saturation changes nothing: contrast * (x - mean) + mean, with brightness added."""
    torch.manual_seed(0)
    image = torch.rand(1, 1, 6, 6)
    changed = color(image.expand(4000, 1, 6, 6))
    contrast = changed.flatten(1).std(dim=1) / image.std()
    brightness = changed.mean(dim=(1, 2, 3)) - image.mean()
    expected = contrast.view(-1, 1, 1, 1) * (image - image.mean())
    expected = expected + (image.mean() + brightness.view(-1, 1, 1, 1))
    torch.testing.assert_close(changed, expected)
    assert 0.5 <= contrast.min() < 0.51
    assert 1.49 < contrast.max() <= 1.5
    assert -0.5 <= brightness.min() < -0.49
    assert 0.49 < brightness.max() <= 0.5


def test_color_moves_saturation_from_grey_to_twice():
    torch.manual_seed(0)
    image = torch.tensor([1.0, 0.0, -1.0]).view(1, 3, 1, 1)  # its mean over channels is 0
    changed = color(image.expand(4000, 3, 1, 1))
    spread = (changed[:, 0] - changed[:, 2]).flatten() / 2  # saturation times contrast
    assert 0 <= spread.min() < 0.01
    assert 2.9 < spread.max() <= 3.0


def test_translation_moves_whole_pixels_by_up_to_an_eighth_and_lets_zeros_in():
    torch.manual_seed(0)
    image = torch.arange(1.0, 129).view(1, 1, 16, 8)
    changed = translation(image.expand(2000, 1, 16, 8))
    padded = torch.nn.functional.pad(image, (1, 1, 2, 2))[0, 0]
    expected = {
        tuple(padded[y : y + 16, x : x + 8].flatten().tolist()) for y in range(5) for x in range(3)
    }
    assert {tuple(row) for row in changed.flatten(1).tolist()} == expected


def test_cutout_blanks_a_window_of_half_a_side_cut_off_at_the_border():
    torch.manual_seed(0)
    blank = cutout(torch.ones(4000, 1, 8, 6))[:, 0] == 0
    rows, columns = blank.any(dim=2), blank.any(dim=1)
    assert torch.equal(blank, rows[:, :, None] & columns[:, None, :])
    for places, length, size in ((rows, 8, 4), (columns, 6, 3)):
        # The centre runs over 0..length, or 0..length - 1 for a window with a middle.
        windows = {
            tuple(c - size // 2 <= place < c - size // 2 + size for place in range(length))
            for c in range(length + 1 - size % 2)
        }
        assert {tuple(row) for row in places.tolist()} == windows


def test_gradients_of_the_changed_images_reach_the_image():
    torch.manual_seed(0)
    images = torch.rand(4, 3, 8, 8, requires_grad=True)
    View(("color", "translation", "cutout"), 0.1)(images, 0.5).sum().backward()
    reached = images.grad.abs().sum(dim=(1, 2, 3))
    assert (reached > 0).all()


def test_instance_noise_falls_in_a_straight_line_to_nothing():
    torch.manual_seed(0)
    images, view = torch.zeros(100, 1, 32, 32), View((), 0.8)
    for progress, std in ((0.0, 0.8), (0.25, 0.6), (0.75, 0.2)):
        assert view(images, progress).std().item() == pytest.approx(std, rel=0.01)
    assert torch.equal(view(images, 1.0), images)
    assert View((), 0.0)(images, 0.0) is images


@pytest.mark.parametrize(
    ("augment", "noise", "message"),
    [
        (("colour",), 0.0, "'colour' is not one of color, translation, cutout"),
        (("color", "color"), 0.0, "twice"),
        ((), -0.1, "instance_noise=-0.1 is below 0"),
    ],
)
def test_a_view_that_makes_no_sense_is_refused(augment, noise, message):
    with pytest.raises(ValueError, match=message):
        View(augment, noise)

import numpy as np
import pytest
import torch
from torch import nn

from trainwright.data.dataset import DataInfo
from trainwright.nn.views import mean_over_views
from trainwright.tasks.classifier import Classifier

pytestmark = [pytest.mark.numeric, pytest.mark.usefixtures("doubles")]
HEIGHT, WIDTH = 5, 4
IMAGES = torch.randn(
    3, 2, HEIGHT, WIDTH, generator=torch.Generator().manual_seed(0), dtype=torch.float64
)


class Pixels(nn.Module):
    """A network that tells every view from every other: each output weighs all pixels."""

    def __init__(self):
        super().__init__()
        generator = torch.Generator().manual_seed(1)
        self.weight = nn.Parameter(torch.randn(2 * HEIGHT * WIDTH, 6, generator=generator))

    def forward(self, images):
        return torch.tanh(images.flatten(1) @ self.weight)


def shifted(images, by):
    """Each pixel from `by` down and right of it, looked up one by one, reflected at the border."""
    result = np.empty_like(images)
    for y in range(HEIGHT):
        for x in range(WIDTH):
            rows, columns = abs(y + by), abs(x + by)
            row = rows if rows < HEIGHT else 2 * (HEIGHT - 1) - rows
            column = columns if columns < WIDTH else 2 * (WIDTH - 1) - columns
            result[:, :, y, x] = images[:, :, row, column]
    return result


def by_hand(network, tta):
    """What the paper says, with the weight of each view written out."""
    plain = IMAGES.numpy()
    views = {
        "none": [(1.0, plain)],
        "mirror": [(1 / 2, plain), (1 / 2, plain[..., ::-1])],
        "mirror_shift": [
            (1 / 4, plain),
            (1 / 4, plain[..., ::-1]),
            *((1 / 8, shifted(plain, by)) for by in (-1, 1)),
            *((1 / 8, shifted(plain, by)[..., ::-1]) for by in (-1, 1)),
        ],
    }[tta]
    return sum(weight * network(torch.from_numpy(view.copy())) for weight, view in views)


@pytest.mark.parametrize("tta", ["none", "mirror", "mirror_shift"])
def test_the_mean_over_the_views_is_that_written_out_by_hand(tta):
    network = Pixels()
    torch.testing.assert_close(mean_over_views(network, IMAGES, tta), by_hand(network, tta))


def info(shape=(2, HEIGHT, WIDTH)):
    ones = (1.0,) * shape[0]
    return DataInfo.of_one_input("views", shape, "classes", tuple("abcdef"), ones, ones)


def test_a_classifier_is_measured_and_asked_over_its_views_and_trained_without():
    network = Pixels()
    task = Classifier(model=network, info=info(), tta="mirror_shift")
    batch = {"inputs": IMAGES, "targets": torch.tensor([0, 1, 2])}
    expected = by_hand(network, "mirror_shift")
    torch.testing.assert_close(task.evaluate(batch)["logits"], expected)
    torch.testing.assert_close(task.predict(batch)["targets"], expected.softmax(dim=1))
    loss, _ = task("model", batch, {})
    plain = nn.functional.cross_entropy(network(IMAGES), batch["targets"])
    torch.testing.assert_close(loss, plain)


@pytest.mark.parametrize(
    ("tta", "shape", "message"),
    [
        ("mirrored", (2, 5, 4), "none, mirror, mirror_shift"),
        ("mirror", (30,), "is for images"),
        ("mirror_shift", (1, 1, 8), "at least 2 pixels"),
    ],
)
def test_views_that_there_are_none_of_are_refused(tta, shape, message):
    with pytest.raises(ValueError, match=message):
        Classifier(model=Pixels(), info=info(shape), tta=tta)

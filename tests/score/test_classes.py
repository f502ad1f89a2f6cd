import numpy as np
import pytest
import torch
from scipy import stats

from trainwright.score.classes import class_figures, in_proportion

pytestmark = pytest.mark.numeric


def sure_of(classes, num_classes, confidence=0.95):
    rest = (1 - confidence) / (num_classes - 1)
    probabilities = torch.full((len(classes), num_classes), rest)
    probabilities[torch.arange(len(classes)), classes] = confidence
    return probabilities


def test_figures_of_a_set_counted_by_hand():
    found = torch.tensor([0] * 10 + [1] * 20 + [2] * 70)[torch.randperm(100)]
    asked = found.clone()
    asked[:5] = (asked[:5] + 1) % 3
    probabilities = sure_of(found, 3)
    probabilities[10:40] = sure_of(found[10:40], 3, confidence=0.8)
    figures = class_figures(probabilities, asked)
    assert figures["confident"].value == pytest.approx(0.7)
    assert figures["confident"].error == pytest.approx((0.7 * 0.3 / 99) ** 0.5)
    assert figures["as_asked"].value == pytest.approx(0.95)
    expected = stats.entropy([0.1, 0.2, 0.7]) / np.log(3)
    assert figures["class_entropy"].value == pytest.approx(expected)
    assert figures["smallest_class"].value == pytest.approx(3 * 0.1)


def test_equal_classes_and_a_collapse_are_the_ends_of_the_scale():
    equal = class_figures(sure_of(torch.arange(1000) % 10, 10), None)
    assert equal["class_entropy"].value == pytest.approx(1)
    assert equal["smallest_class"].value == pytest.approx(1)
    one = class_figures(sure_of(torch.full((1000,), 3), 10), None)
    assert one["class_entropy"].value == 0
    assert one["smallest_class"].value == 0
    assert "as_asked" not in one


def test_the_entropys_error_is_its_spread_over_fresh_samples():
    generator = torch.Generator().manual_seed(0)
    shares = torch.tensor([0.6, 0.2, 0.1, 0.1])
    figures = [
        class_figures(sure_of(torch.multinomial(shares, 500, True, generator=generator), 4), None)
        for _ in range(150)
    ]
    for name in ("class_entropy", "confident"):
        values = [figure[name].value for figure in figures]
        errors = [figure[name].error for figure in figures]
        assert np.mean(errors) == pytest.approx(np.std(values, ddof=1), rel=0.25, abs=1e-12)


@pytest.mark.parametrize("num", [50, 1000, 9999])
def test_classes_are_drawn_as_the_data_has_them_to_within_one(num):
    counts = torch.tensor([10, 0, 70, 17, 3])
    classes = in_proportion(counts, num, torch.Generator().manual_seed(0))
    drawn = torch.bincount(classes, minlength=5)
    assert len(classes) == num
    assert ((drawn - num * counts / 100).abs() <= 1).all()
    assert drawn[1] == 0
    assert not torch.equal(classes, classes.sort().values)

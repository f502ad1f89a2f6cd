"""What stands for numbers and categories, against the formulas of the papers, number by number."""

import math

import pytest
import torch

from trainwright.nn.tables.embeddings import (
    CategoryEmbedding,
    LinearEmbedding,
    Periodic,
    PiecewiseLinear,
)

pytestmark = [pytest.mark.numeric, pytest.mark.usefixtures("doubles")]


def dense(layer, encoded, feature):
    """ReLU of the linear layer of one feature, of an encoding in plain numbers."""
    weight, bias = layer.weight[feature].tolist(), layer.bias[feature].tolist()
    sums = [
        sum(e * row[out] for e, row in zip(encoded, weight, strict=True)) + b
        for out, b in enumerate(bias)
    ]
    return [max(0.0, number) for number in sums]


def test_a_linear_embedding_is_a_line_for_each_feature_and_place():
    embed = LinearEmbedding(2, 3)
    numbers = torch.tensor([[0.5, -2.0], [3.0, 0.0]])
    found = embed(numbers)
    for row in range(2):
        for feature in range(2):
            for place in range(3):
                line = numbers[row, feature] * embed.weight[feature, place]
                expected = line + embed.bias[feature, place]
                torch.testing.assert_close(found[row, feature, place], expected)


def test_each_category_of_each_feature_has_a_row_of_its_own():
    embed = CategoryEmbedding([2, 3], 4)
    found = embed(torch.tensor([[1, 0], [0, 2]]))
    rows = embed.weight  # of the first feature 0 and 1, of the second 2, 3 and 4
    torch.testing.assert_close(found[0, 0], rows[1] + embed.bias[0])
    torch.testing.assert_close(found[0, 1], rows[2] + embed.bias[1])
    torch.testing.assert_close(found[1, 0], rows[0] + embed.bias[0])
    torch.testing.assert_close(found[1, 1], rows[4] + embed.bias[1])


def piecewise(number, edges):
    """Gorishniy et al. 2022, formula 1, with edges b_0 < ... < b_T."""
    last = len(edges) - 1
    encoded = []
    for t in range(1, last + 1):
        low, high = edges[t - 1], edges[t]
        if number < low and t > 1:
            encoded.append(0.0)
        elif number >= high and t < last:
            encoded.append(1.0)
        else:
            encoded.append((number - low) / (high - low))
    return encoded


def test_the_bins_hold_equally_many_examples_and_numbers_come_through_them_piecewise():
    embed = PiecewiseLinear(2, 3, bins=4)
    first = torch.tensor([0.0, 1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0])
    embed.fit(torch.stack([first, -first], dim=1))
    assert embed.edges[0].tolist() == [0, 2, 8, 32, 128]
    for number in (-5.0, 0.0, 1.5, 2.0, 20.0, 100.0, 128.0, 200.0):
        inputs = torch.tensor([[number, -number]])
        expected = [
            piecewise(number, [0, 2, 8, 32, 128]),
            piecewise(-number, [-128, -32, -8, -2, 0]),
        ]
        torch.testing.assert_close(embed.encoding(inputs)[0], torch.tensor(expected))
        told = [dense(embed.mix, encoded, feature) for feature, encoded in enumerate(expected)]
        torch.testing.assert_close(embed(inputs)[0], torch.tensor(told))


def test_bins_without_width_say_nothing():
    """A feature of two values has one bin, a constant none, whatever their number."""
    embed = PiecewiseLinear(2, 3, bins=5)
    numbers = torch.tensor([[0.0, 7.0], [1.0, 7.0], [1.0, 7.0]])
    embed.fit(numbers)
    found = embed.encoding(torch.tensor([[0.25, 9.0]]))[0].tolist()
    assert found[0] == [0.25, 0, 0, 0, 0]
    assert found[1] == [0, 0, 0, 0, 0]
    embed(numbers).sum().backward()
    assert embed.mix.weight.grad.isfinite().all()


def test_a_periodic_embedding_mixes_sines_and_cosines_of_its_frequencies():
    embed = Periodic(2, 3, frequencies=2, sigma=0.5)
    numbers = [0.3, -1.2]
    found = embed(torch.tensor([numbers]))[0]
    for feature, number in enumerate(numbers):
        angles = [2 * math.pi * c * number for c in embed.frequencies[feature].tolist()]
        encoded = [*map(math.sin, angles), *map(math.cos, angles)]
        torch.testing.assert_close(found[feature], torch.tensor(dense(embed.mix, encoded, feature)))


def test_frequencies_begin_with_the_deviation_asked_for():
    torch.manual_seed(0)
    embed = Periodic(100, 1, frequencies=100, sigma=0.3)
    # Cut off at three deviations, a normal one has 0.98658 of its own (to 3 of its errors).
    assert embed.frequencies.std().item() == pytest.approx(0.3 * 0.98658, rel=3 / 20_000**0.5)
    assert embed.frequencies.abs().max() <= 0.9

import itertools

import numpy as np
import pytest
import torch

from trainwright.score.kernel import kernel_distance, kid

pytestmark = pytest.mark.numeric


def draws(num, num_features=6, shift=0.0, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(num, num_features, generator=generator) + shift


def pair_by_pair(first, second):
    """The sums of Gretton et al. 2012, lemma 6, one pair after another."""

    def kernel(x, y):
        return (float(np.dot(x, y)) / len(x) + 1) ** 3

    first, second = first.double().numpy(), second.double().numpy()
    m, n = len(first), len(second)
    within = sum(kernel(a, b) for a, b in itertools.permutations(first, 2)) / (m * (m - 1))
    other = sum(kernel(a, b) for a, b in itertools.permutations(second, 2)) / (n * (n - 1))
    return within + other - 2 * sum(kernel(a, b) for a in first for b in second) / (m * n)


def test_it_is_the_papers_sum_over_pairs():
    first, second = draws(20), draws(30, shift=0.5, seed=1)
    assert kernel_distance(first, second) == pytest.approx(pair_by_pair(first, second), rel=1e-10)


def test_it_is_the_mean_over_blocks_with_their_spread():
    first, second = draws(100), draws(103, shift=1.0, seed=1)
    blocks = [pair_by_pair(first[i : i + 20], second[i : i + 20]) for i in range(0, 100, 20)]
    figure = kid(first, second)
    assert figure.value == pytest.approx(np.mean(blocks), rel=1e-9)
    assert figure.error == pytest.approx(np.std(blocks, ddof=1) / 5**0.5, rel=1e-9)


def test_a_thousand_examples_make_a_block_where_there_are_many():
    first, second = draws(5500), draws(7000, shift=0.1, seed=1)
    blocks = [
        kernel_distance(first[i : i + 1000], second[i : i + 1000]) for i in range(0, 5000, 1000)
    ]
    assert kid(first, second).value == pytest.approx(np.mean(blocks))


def test_equal_distributions_are_at_zero_without_bias_at_any_size():
    """The mean over many draws is 0 within its error, at 20 examples as at 200."""
    for num in (20, 200):
        values = [
            kernel_distance(draws(num, seed=2 * s), draws(num, seed=2 * s + 1)) for s in range(200)
        ]
        assert abs(np.mean(values)) < 3 * np.std(values) / 200**0.5


def test_shifted_features_have_the_distance_of_the_kernels_feature_map():
    """In one dimension (xy + 1)^3 is the product of (x^3, sqrt 3 x^2, sqrt 3 x, 1) and y's."""
    first, second = torch.full((50, 1), 1.0), torch.full((50, 1), 2.0)
    expected = (8 - 1) ** 2 + 3 * (4 - 1) ** 2 + 3 * (2 - 1) ** 2
    assert kid(first, second).value == pytest.approx(expected)
    assert kid(first, second).error == pytest.approx(0, abs=1e-9)


def test_a_single_example_is_refused():
    with pytest.raises(ValueError, match="two examples"):
        kernel_distance(torch.zeros(1, 3), torch.zeros(5, 3))

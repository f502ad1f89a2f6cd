import math

import numpy as np
import pytest
import torch
from scipy import linalg

from trainwright.score.frechet import Gaussian, frechet, frechet_distance

pytestmark = pytest.mark.numeric


def normal(num, mean, scale, seed=0):
    generator = torch.Generator().manual_seed(seed)
    scale = torch.tensor(scale, dtype=torch.float64)
    draws = torch.randn(num, len(scale), generator=generator, dtype=torch.float64)
    return draws * scale + torch.tensor(mean, dtype=torch.float64)


def by_the_paper(first, second):
    """Equation 6 of Heusel et al. 2017, by the eigenvalues of the unsymmetric product."""
    first, second = first.double().numpy(), second.double().numpy()
    one, two = np.cov(first, rowvar=False), np.cov(second, rowvar=False)
    gap = first.mean(0) - second.mean(0)
    roots = np.sqrt(linalg.eigvals(one @ two).astype(complex))
    return gap @ gap + np.trace(one + two) - 2 * roots.sum().real


def gaussian(mean, variances):
    mean, variances = (torch.tensor(v, dtype=torch.float64) for v in (mean, variances))
    return Gaussian(mean, torch.diag(variances))


def test_two_gaussians_along_the_axes_have_the_distance_in_closed_form():
    """|m1 - m2|^2 + sum of (s1 - s2)^2 where the covariances commute."""
    one, two = gaussian([1.0, 2.0], [4.0, 9.0]), gaussian([4.0, -2.0], [1.0, 25.0])
    assert frechet_distance(one, two) == pytest.approx(25 + (2 - 1) ** 2 + (3 - 5) ** 2, rel=1e-12)


def test_turned_gaussians_have_the_distance_in_closed_form():
    """N(0, diag(a, b)) against itself turned by 90 degrees: 2 (sqrt a - sqrt b)^2."""
    one, two = gaussian([0.0, 0.0], [16.0, 1.0]), gaussian([0.0, 0.0], [1.0, 16.0])
    assert frechet_distance(one, two) == pytest.approx(2 * (4 - 1) ** 2, rel=1e-12)


def test_samples_of_two_gaussians_come_close_to_it_within_the_stated_error():
    first = normal(40_000, [0, 0, 0], [1, 2, 3], seed=1)
    second = normal(40_000, [1, 0, 0], [1, 2, 4], seed=2)
    figure = frechet(second, Gaussian.of(first))
    assert figure.error < 0.1
    assert abs(figure.value - 2) < 4 * math.hypot(figure.error, figure.error)


def test_it_is_scipys_matrix_root():
    first, second = normal(300, [0, 1, 2], [1, 2, 3]), normal(200, [1, 1, 1], [3, 1, 2], seed=1)
    second[:, 0] += second[:, 1]
    one, two = (np.cov(x.numpy(), rowvar=False) for x in (first, second))
    gap = (first.mean(0) - second.mean(0)).numpy()
    expected = gap @ gap + np.trace(one + two - 2 * linalg.sqrtm(one @ two).real)
    assert frechet(second, Gaussian.of(first)).value == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("num", [30, 64, 400])
def test_singular_covariances_are_no_trouble(num):
    generator = torch.Generator().manual_seed(3)
    mixing = torch.randn(64, 64, generator=generator)
    first = torch.relu(torch.randn(500, 64, generator=generator) @ mixing)
    second = torch.relu(torch.randn(num, 64, generator=generator) @ mixing + 1)
    first[:, :5] = second[:, :5] = 0  # features that never fire
    expected = by_the_paper(first, second)
    assert frechet(second, Gaussian.of(first)).value == pytest.approx(expected, rel=1e-6)


def test_a_set_has_no_distance_to_itself():
    features = normal(500, [100, 0, 1], [1, 2, 3])
    assert abs(frechet(features, Gaussian.of(features)).value) < 1e-9


def test_a_collapsed_generator_has_the_distance_of_a_point():
    """A single image against N(m, C): |x - m|^2 + tr C."""
    real = gaussian([0.0, 0.0], [4.0, 9.0])
    figure = frechet(torch.tensor([[3.0, 4.0]]).expand(100, 2), real)
    assert figure.value == pytest.approx(25 + 13)
    assert figure.error == pytest.approx(0, abs=1e-9)


def test_the_error_is_the_spread_of_the_distance_over_fresh_samples():
    real = Gaussian.of(normal(50_000, [0, 0, 0, 0], [1, 1, 2, 3]))
    figures = [
        frechet(normal(500, [0.5, 0, 0, 0], [1, 1, 2, 2], seed=s), real) for s in range(1, 101)
    ]
    spread = np.std([figure.value for figure in figures], ddof=1)
    assert np.mean([figure.error for figure in figures]) == pytest.approx(spread, rel=0.25)


def test_features_far_from_the_origin_lose_no_digits():
    near = normal(1000, [0, 0], [1, 2], seed=5), normal(1000, [1, 0], [1, 1], seed=6)
    far = near[0] + 1e6, near[1] + 1e6
    expected = frechet(near[1], Gaussian.of(near[0])).value
    assert frechet(far[1], Gaussian.of(far[0])).value == pytest.approx(expected, rel=1e-6)


def test_a_single_example_is_refused():
    with pytest.raises(ValueError, match="N > 1"):
        Gaussian.of(torch.zeros(1, 3))

import numpy as np
import pytest
import torch
from sklearn.neighbors import NearestNeighbors

from trainwright.score import neighbours
from trainwright.score.manifold import Manifold, manifold_figures
from trainwright.score.neighbours import nearest, squared_radii

pytestmark = pytest.mark.numeric


def draws(num, seed=0, shift=0.0, num_features=8):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(num, num_features, generator=generator) + shift


def distances(first, second):
    first, second = first.double().numpy(), second.double().numpy()
    return np.sqrt(((first[:, None] - second[None]) ** 2).sum(-1))


def radii(points, k):
    """Distances to the k-th nearest other, by scikit-learn."""
    found, _ = NearestNeighbors(n_neighbors=k).fit(points.double().numpy()).kneighbors()
    return found[:, -1]


def by_the_papers(fake, real):
    gaps = distances(fake, real)
    real_3, real_5, fake_3 = radii(real, 3), radii(real, 5), radii(fake, 3)
    return {
        "precision": (gaps <= real_3).any(1).mean(),
        "recall": (gaps <= fake_3[:, None]).any(0).mean(),
        "density": (gaps <= real_5).sum() / (5 * len(fake)),
        "coverage": (gaps.min(0) <= real_5).mean(),
    }


@pytest.mark.parametrize(("num_fake", "num_real", "shift"), [(300, 200, 0.7), (64, 500, 0.0)])
@pytest.mark.parametrize("block_bytes", [4096, 32 * 2**20])
def test_they_are_those_of_the_papers_whatever_the_blocks(
    monkeypatch, num_fake, num_real, shift, block_bytes
):
    monkeypatch.setattr(neighbours, "BLOCK_BYTES", block_bytes)
    fake, real = draws(num_fake, 1, shift), draws(num_real, 2)
    figures = manifold_figures(fake, Manifold.of(real))
    for name, expected in by_the_papers(fake, real).items():
        assert figures[name].value == pytest.approx(expected, abs=1e-9), name


def test_radii_and_nearest_are_scikit_learns():
    fake, real = draws(70, 1), draws(90, 2)
    for k in (1, 3, 5):
        np.testing.assert_allclose(squared_radii(real, k).sqrt(), radii(real, k), rtol=1e-5)
    gaps, found = nearest(fake, real)
    model = NearestNeighbors(n_neighbors=1).fit(real.double().numpy())
    expected, where = model.kneighbors(fake.double().numpy())
    np.testing.assert_allclose(gaps, expected[:, 0], rtol=1e-5)
    assert found.tolist() == where[:, 0].tolist()


def test_a_copy_is_at_distance_zero_however_far_from_the_origin():
    points = draws(200, 3) + 1000
    gaps, found = nearest(points[50:60], points)
    assert gaps.tolist() == [0.0] * 10
    assert found.tolist() == list(range(50, 60))


def test_a_set_against_itself_is_perfect():
    real = draws(200)
    figures = manifold_figures(real, Manifold.of(real))
    assert figures["precision"].value == figures["recall"].value == 1
    assert figures["coverage"].value == 1
    assert figures["density"].value >= 1  # each lies in its own ball, and in about 5 others


def test_real_against_real_has_density_about_1_and_coverage_by_the_papers_formula():
    """Naeem et al. 2020, lemma 2, N real and M fake: 1 - (N-1)...(N-k) / (M+N-1)...(M+N-k)."""
    num_real, num_fake, k = 1000, 1000, 5
    figures = manifold_figures(draws(num_fake, 1), Manifold.of(draws(num_real, 2)))
    missed = np.prod([(num_real - i) / (num_fake + num_real - i) for i in range(1, k + 1)])
    assert figures["coverage"].value == pytest.approx(1 - missed, abs=0.03)
    assert figures["density"].value == pytest.approx(1, abs=0.12)


def test_a_collapsed_generator_is_precise_and_covers_nothing():
    real = draws(400)
    fake = real[:1].expand(400, -1)
    figures = manifold_figures(fake, Manifold.of(real))
    assert figures["precision"].value == 1
    assert figures["recall"].value <= 1 / 400
    assert figures["coverage"].value < 0.05


def test_a_generator_of_noise_far_away_has_none_of_them():
    figures = manifold_figures(draws(300, shift=50.0), Manifold.of(draws(300, 1)))
    assert [figures[name].value for name in ("precision", "recall", "density", "coverage")] == [
        0
    ] * 4


def test_too_few_points_are_refused():
    with pytest.raises(ValueError, match="5 points have no 5-th neighbour"):
        Manifold.of(draws(5))

import numpy as np
import pytest
import torch
from scipy import stats

from trainwright.score.memorisation import copying
from trainwright.score.neighbours import nearest


def draws(num, seed, spread=1.0):
    return torch.randn(num, 4, generator=torch.Generator().manual_seed(seed)) * spread


def test_it_is_the_share_of_mann_and_whitney_with_ties():
    generated = torch.tensor([0.0, 1.0, 1.0, 2.0, 5.0])
    held_out = torch.tensor([1.0, 2.0, 3.0])
    u = stats.mannwhitneyu(held_out.numpy(), generated.numpy()).statistic
    assert copying(generated, held_out).value == pytest.approx(u / 15)


def test_copies_new_examples_and_noise_are_told_apart():
    train, held_out = draws(2000, 1), draws(500, 2)
    beside = nearest(held_out, train)[0]
    fresh = copying(nearest(draws(500, 3), train)[0], beside)
    assert abs(fresh.value - 0.5) < 3 * fresh.error
    assert fresh.error < 0.03
    assert copying(nearest(train[:500], train)[0], beside).value == 1
    near_copies = train[:500] + 0.01 * draws(500, 4)
    assert copying(nearest(near_copies, train)[0], beside).value > 0.98
    assert copying(nearest(draws(500, 5, spread=20), train)[0], beside).value < 0.02


def test_the_error_is_the_spread_over_fresh_samples():
    generator = torch.Generator().manual_seed(0)
    figures = [
        copying(torch.rand(100, generator=generator) ** 2, torch.rand(60, generator=generator))
        for _ in range(200)
    ]
    spread = np.std([figure.value for figure in figures], ddof=1)
    assert np.mean([figure.error for figure in figures]) == pytest.approx(spread, rel=0.2)

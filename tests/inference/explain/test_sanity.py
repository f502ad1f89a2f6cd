"""Whether an explanation is told off that does not depend on the weights, or finds nothing."""

import pytest
import torch
from scipy.stats import spearmanr
from torch import nn

from trainwright.data.dataset import DataInfo
from trainwright.inference.explain.asked import Asked
from trainwright.inference.explain.sanity import (
    Sane,
    deletion,
    orders_of,
    rank_correlation,
    shuffled,
)
from trainwright.inference.explain.subjects import Picture
from trainwright.tasks.classifier import Classifier

pytestmark = pytest.mark.numeric


@pytest.fixture
def asked():
    """Of 1x4 pixels the first speaks for class 1, by weight 4; the second against it."""
    network = nn.Sequential(nn.Flatten(), nn.Linear(4, 2, bias=False))
    network[1].weight.data = torch.tensor([[0.0] * 4, [4.0, -2.0, 1.0, 0.0]])
    info = DataInfo.of_one_input("t", (1, 1, 4), "classes", ("a", "b"), (0.0,), (1.0,))
    task = Classifier(model=network, info=info).eval()
    return Asked(task, task.columns["targets"], 1)


def test_shuffled_weights_are_the_same_numbers_elsewhere(asked):
    torch.manual_seed(0)
    task = asked.task
    task.model = nn.Linear(20, 30)
    other = shuffled(task, seed=0)
    before, after = task.model.weight.flatten(), other.model.weight.flatten()
    assert sorted(before.tolist()) == sorted(after.tolist())
    assert abs(rank_correlation(before.detach(), after.detach())) < 0.25  # 6 / sqrt(600)


def test_rank_correlation_is_scipys_and_0_of_what_is_the_same_everywhere():
    one, other = torch.tensor([3.0, 1.0, 1.0, 5.0]), torch.tensor([1.0, 0.0, 2.0, 2.0])
    assert rank_correlation(one, other) == pytest.approx(spearmanr(one, other).statistic)
    assert rank_correlation(one, torch.zeros(4)) == 0


def test_deletion_takes_what_adds_most_away_first(asked):
    picture = Picture(
        "inputs", torch.ones(1, 1, 1, 4), torch.zeros(1, 1, 1, 1), torch.zeros(1, 1, 4)
    )
    attribution = torch.tensor([4.0, -2.0, 1.0, 0.0])
    curve = deletion(picture, asked, orders_of(attribution, asked, seed=0))[0]
    # All four; then without the first, the third, the fourth, the second: each for five steps.
    scores = torch.tensor([4 - 2 + 1.0] + [-2 + 1.0] * 5 + [-2.0] * 5 + [-2.0] * 5 + [0.0] * 5)
    torch.testing.assert_close(curve, scores.sigmoid())


def test_what_does_not_depend_on_the_weights_is_said_so_whatever_it_finds():
    assert "DOES NOT DEPEND ON THE WEIGHTS" in Sane(1.0, 0.1, 0.5).verdict()
    assert "in part" in Sane(0.5, 0.1, 0.5).verdict()
    assert "nothing that counts" in Sane(0.0, 0.5, 0.5).verdict()
    assert Sane(0.0, 0.1, 0.5).verdict() == "depends on the weights, and finds what counts"
    assert Sane(0.0).verdict() == "depends on the weights"

"""A learning rate that is read from a curve, and the largest batch that fits."""

import itertools
import random

import pytest

from trainwright.config.plan import Plan
from trainwright.errors import ConfigError
from trainwright.run.tune.batch import Tried, doubled
from trainwright.run.tune.rates import LOWEST, steepest, sweep_rates, valley


def test_the_steepest_is_where_the_central_difference_is_lowest():
    # differences over two: (9-10)/1, (8-10)/2, (4-9)/2, (3-8)/2 and (3-4)/1
    assert steepest([10.0, 9.0, 8.0, 4.0, 3.0]) == 2


def longest_fall(losses):
    """The length of the longest falling subsequence, by trying all of them."""
    return next(
        size
        for size in range(len(losses), 0, -1)
        if any(
            all(a > b for a, b in itertools.pairwise(some))
            for some in itertools.combinations(losses, size)
        )
    )


def test_the_valley_is_half_way_down_the_longest_fall():
    for seed in range(200):
        rng = random.Random(seed)
        losses = [rng.random() for _ in range(rng.randint(3, 9))]
        length = longest_fall(losses)
        # It ends at the first loss with which so long a fall is complete.
        end = next(i for i in range(len(losses)) if longest_fall(losses[: i + 1]) == length)
        assert valley(losses) == max(0, end - length + length // 3 + length // 6)
    # As fastai's `valley` answers: of nine falling and three rising, the fifth from its begin.
    assert valley([9.0, 8.0, 7.0, 6.0, 5.0, 4.0, 3.0, 2.0, 1.0, 2.0, 3.0, 4.0]) == 3


@pytest.mark.numeric
def test_a_rate_that_is_proposed_is_one_that_learns(composed, train, tmp_path):
    words = ("model.widths=[32]", "optimizer=sgd", "data.limit=600")
    swept = sweep_rates(Plan.of(composed(*words)))
    assert pytest.approx(swept.rates[0]) == LOWEST
    assert LOWEST < swept.valley < swept.steepest < swept.rates[-1]
    found = {}
    for name, rate in (("proposed", swept.valley), ("hundredth", swept.valley / 100)):
        length = ("trainer.steps=40", "schedule=constant", f"optimizer.lr={rate}")
        found[name] = train(tmp_path / name, *words, *length).objective
    assert found["proposed"] > 2 * found["hundredth"]


def test_players_whose_losses_do_not_fall_have_no_learning_rate_to_be_found(composed):
    with pytest.raises(ConfigError, match=r"players \(discriminator, generator\) do not fall"):
        sweep_rates(Plan.of(composed("model=mlp_gan", "data.limit=200")))


def test_where_nothing_is_learned_no_rate_is_proposed(composed):
    words = ("model.widths=[4]", "data.limit=200", "task.label_smoothing=0.999")
    with pytest.raises(ConfigError, match="falls at no learning rate"):
        sweep_rates(Plan.of(composed(*words)))


def test_batches_are_doubled_up_to_the_training_examples(composed):
    *tried, why = doubled(Plan.of(composed("model.widths=[8]")), 256)
    assert [one.size for one in tried] == [256, 512, 1024]
    assert [one.peak for one in tried] == sorted(one.peak for one in tried)
    assert why == "2,048 is more than the 1,437 training examples"


def test_a_size_that_is_foretold_to_need_too_much_is_not_tried(composed):
    found = list(doubled(Plan.of(composed("model.widths=[8]")), 64, limit=10_000_000))
    assert isinstance(found[0], Tried)
    assert found[1].startswith("128 would take ")
    assert found[1].endswith("10.0 MB may be used")

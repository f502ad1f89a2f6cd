"""Mixup and cutmix: images, and what is to be predicted of them, in the same shares."""

import numpy as np
import pytest
import torch
from scipy import stats

from trainwright.data.columns import Classes, Labels, Values
from trainwright.data.images.mixing import Mixing
from trainwright.errors import ConfigError

NAMES = ("a", "b", "c")
TARGETS = {
    "kind": Classes(NAMES),
    "tags": Labels(NAMES),
    "value": Values(),
    "pair": Values(mean=(0.0, 0.0), std=(1.0, 1.0), names=("x", "y")),
}


def batch(num=8, side=6):
    generator = torch.Generator().manual_seed(5)
    return {
        "inputs": torch.randn(num, 3, side, side, generator=generator),
        "kind": torch.randint(0, 3, (num,), generator=generator),
        "tags": torch.randint(0, 2, (num, 3), generator=generator).float(),
        "value": torch.randn(num, generator=generator),
        "pair": torch.randn(num, 2, generator=generator),
    }


def mixed(seed=0, given=None, **alphas):
    mixing = Mixing("inputs", TARGETS, device=torch.device("cpu"),
                    **{"mixup": 0, "cutmix": 0, **alphas})  # fmt: skip
    return mixing(given or batch(), torch.Generator().manual_seed(seed))


def share_of(before, after, i, other):
    """How much of example i is in what came out, from its value alone."""
    one, two, now = (x.double() for x in (before["value"][i], before["value"][other],
                                          after["value"][i]))  # fmt: skip
    return float((now - two) / (one - two))


def check_targets(before, after):
    """That each target is the same mixture of both examples as the value is."""
    for i in range(len(before["value"])):
        other = i - 1
        share = share_of(before, after, i, other)
        shares = [0.0, 0.0, 0.0]
        shares[before["kind"][i]] += share
        shares[before["kind"][other]] += 1 - share
        assert after["kind"][i].tolist() == pytest.approx(shares, abs=1e-5)
        for name in ("tags", "pair"):
            expected = share * before[name][i] + (1 - share) * before[name][other]
            torch.testing.assert_close(after[name][i], expected, atol=1e-5, rtol=0)
        yield i, other, share


def test_mixup_is_the_same_mean_of_images_and_targets():
    before, after = batch(), mixed(mixup=0.4)
    for i, other, share in check_targets(before, after):
        expected = share * before["inputs"][i] + (1 - share) * before["inputs"][other]
        torch.testing.assert_close(after["inputs"][i], expected, atol=1e-5, rtol=0)


def test_cutmix_puts_one_box_of_the_other_image_and_counts_its_pixels():
    before, after = batch(side=9), mixed(given=batch(side=9), cutmix=1.0)
    sizes = set()
    for i, other, share in check_targets(before, after):
        is_own = (after["inputs"][i] == before["inputs"][i]).all(0)
        is_other = (after["inputs"][i] == before["inputs"][other]).all(0)
        assert (is_own | is_other).all()
        assert float(is_own.double().mean()) == pytest.approx(share, abs=1e-5)
        rows, columns = is_other.any(1), is_other.any(0)
        assert torch.equal(is_other, rows[:, None] & columns[None])  # a box
        assert (rows.int().diff().abs().sum() <= 2) & (columns.int().diff().abs().sum() <= 2)
        sizes.add(int(is_other.sum()))
    assert len(sizes) > 2


def test_with_both_on_each_example_is_mixed_in_one_way():
    given = batch(num=400)
    after = mixed(given=given, mixup=1.0, cutmix=1.0)
    is_pixel_of_one = (after["inputs"] == given["inputs"]) | (
        after["inputs"] == given["inputs"].roll(1, 0)
    )
    num_boxes = int(is_pixel_of_one.flatten(1).all(1).sum())
    assert 200 - 3 * 10 < num_boxes < 200 + 3 * 10 + 20  # some mixed by a share of nearly 1


@pytest.mark.parametrize("alpha", [0.2, 1.0, 3.0])
def test_shares_are_drawn_from_a_beta_distribution(alpha):
    """By the test of Kolmogorov and Smirnov, which one in a thousand right ones would fail."""
    given = batch(num=4000, side=1)
    after = mixed(given=given, mixup=alpha)
    found = [share_of(given, after, i, i - 1) for i in range(4000)]
    close = (given["value"] - given["value"].roll(1)).abs() > 0.1  # else rounding is all there is
    found = np.clip(np.array(found)[close.numpy()], 0, 1)
    assert stats.kstest(found, stats.beta(alpha, alpha).cdf).pvalue > 1e-3


def test_what_is_drawn_depends_on_the_generator_alone():
    one, again, other = mixed(3, mixup=0.2), mixed(3, mixup=0.2), mixed(4, mixup=0.2)
    assert all(torch.equal(one[name], again[name]) for name in one)
    assert not torch.equal(one["inputs"], other["inputs"])


SMALL = ("data=digits", "model.widths=[16]", "trainer.batch_size=16", "data.limit=200")


def test_batches_mix_training_alone_and_are_the_same_whenever_asked_for(assembled):
    plain = assembled(*SMALL)
    assembly = assembled(*SMALL, "data.augment.cutmix=1")
    one, again = assembly.train.at(3), assembly.train.at(3)
    assert all(torch.equal(one[name], again[name]) for name in one)
    assert one["targets"].shape == (16, 10)
    torch.testing.assert_close(one["targets"].sum(1), torch.ones(16))
    assert not torch.equal(one["inputs"], plain.train.at(3)["inputs"])
    held_out = next(assembly.make_batches(assembly.dataset.validation).in_order(16))
    assert held_out["targets"].shape == (16,)


@pytest.mark.parametrize("more", [(), ("task.class_weights=balanced",), ("task.focal=2",)])
def test_a_classifier_learns_from_shares_of_classes(assembled, more):
    """Of one class alone it has the loss that it always had, of two the mean of both."""
    task = assembled(*SMALL, *more).state.task.double()
    if task.class_weights is not None:
        task.class_weights = task.class_weights.double()
    inputs = torch.randn(4, 1, 8, 8).double()
    one, two = torch.tensor([1, 2, 3, 4]), torch.tensor([5, 6, 7, 8])

    def loss(targets):
        return task("model", {"inputs": inputs, "targets": targets}, {})[0].item()

    hot = torch.nn.functional.one_hot(one, 10).double()
    assert loss(hot) == pytest.approx(loss(one), rel=1e-6)
    if not more:
        half = (hot + torch.nn.functional.one_hot(two, 10)) / 2
        assert loss(half) == pytest.approx((loss(one) + loss(two)) / 2, rel=1e-6)


def test_who_cannot_learn_from_mixed_targets_is_told_so(assembled):
    with pytest.raises(ConfigError, match=r"data\.augment\.mixup mixes targets too"):
        assembled("model=gan", "data=digits", "data.augment.mixup=0.2", "task.score=none")


@pytest.mark.parametrize("wrong", [-1, "often", True])
@pytest.mark.parametrize("key", ["mixup", "cutmix", "colour", "erase"])
def test_a_wrong_value_is_refused(assembled, key, wrong):
    with pytest.raises(ConfigError, match=rf"data\.augment\.{key} is"):
        assembled(*SMALL, f"data.augment.{key}={wrong}")

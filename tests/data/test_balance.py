"""Training that shows every class equally often, as a function of the seed and the step alone."""

import pytest
import torch

from trainwright.data.balance import Balance
from trainwright.errors import ConfigError

CLASSES = torch.tensor([0] * 70 + [2] * 25 + [3] * 6 + [4])  # none of 1
MEMBERS = {c: set((c == CLASSES).nonzero().flatten().tolist()) for c in (0, 2, 3, 4)}


def counts(order):
    return torch.bincount(CLASSES[order], minlength=5).tolist()


def test_a_pass_has_every_class_equally_often_and_as_many_places_as_examples():
    for epoch in range(3):
        assert counts(Balance(CLASSES, 0).order(epoch)) == [26, 0, 26, 25, 25]


def test_examples_come_a_second_time_when_all_of_their_class_have_come():
    """Of each class, whatever window of its own stream is looked at, over several passes."""
    balance = Balance(CLASSES, 3)
    seen = {c: [] for c in MEMBERS}
    for epoch in range(6):
        for c, members in MEMBERS.items():
            seen[c] += [i for i in balance.order(epoch).tolist() if i in members]
    for c, members in MEMBERS.items():
        times = torch.bincount(torch.tensor(seen[c]), minlength=len(CLASSES))[sorted(members)]
        assert times.max() - times.min() <= 1, c
        assert times.sum() == len(seen[c])


def test_an_order_depends_on_the_seed_and_the_pass_alone():
    first = Balance(CLASSES, 0)
    late, early = first.order(4), first.order(1)
    again = Balance(CLASSES, 0)
    assert torch.equal(again.order(1), early)
    assert torch.equal(again.order(4), late)
    assert not torch.equal(Balance(CLASSES, 1).order(4), late)
    assert not torch.equal(early, late)


def test_batches_are_balanced_and_the_same_whenever_asked_for(assembled):
    """Two of three breast cancers are benign."""
    overrides = ("data=tabular", "trainer.batch_size=50")
    plain, balanced = (assembled(*overrides, *more) for more in ([], ["data.balance=true"]))
    targets = [balanced.train.at(step)["targets"] for step in range(40)]
    assert torch.equal(torch.stack(targets)[7], balanced.train.at(7)["targets"])
    share = torch.cat(targets).float().mean()
    assert share == pytest.approx(0.5, abs=0.01)
    as_it_is = torch.cat([plain.train.at(step)["targets"] for step in range(40)]).float().mean()
    assert as_it_is == pytest.approx(0.627, abs=0.01)
    held_out = balanced.make_batches(balanced.dataset.validation)
    taken = torch.cat([batch["inputs"] for batch in held_out.in_order(32)])
    assert len(taken) == len(balanced.dataset.validation)


def test_values_cannot_be_balanced(assembled):
    with pytest.raises(ConfigError, match=r"data\.balance=true is for classes, and diabetes has"):
        assembled("data=diabetes", "task=regression", "+data.balance=true")


@pytest.mark.parametrize("wrong", ["often", 1, "null"])
def test_what_is_neither_true_nor_false_is_refused(assembled, wrong):
    with pytest.raises(ConfigError, match=r"data\.balance=.*must be true or false"):
        assembled(f"data.balance={wrong}")


def test_a_run_that_goes_on_is_to_the_bit_the_run_that_was_not_stopped(train, resume, tmp_path):
    overrides = ("data=tabular", "data.balance=true", "trainer.batch_size=50", "trainer.steps=20",
                 "task.class_weights=balanced", "trainer.threads=1")  # fmt: skip
    whole = train(tmp_path / "whole", *overrides).folder
    begun = train(tmp_path / "begun", *overrides, "trainer.steps=11",
                  "trainer.schedule_until=20").folder  # fmt: skip
    resume(begun, "trainer.steps=20", "trainer.schedule_until=100%")
    tensors = [(f / "checkpoints" / "last.safetensors") for f in (whole, begun)]
    from safetensors.torch import load_file

    one, other = (
        {n: t for n, t in load_file(path).items() if n.startswith("task.")} for path in tensors
    )
    assert one
    assert all(torch.equal(one[name], other[name]) for name in one)

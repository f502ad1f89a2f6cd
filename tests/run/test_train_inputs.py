"""Networks that begin with something of the training data, and need no data to be rebuilt."""

import pytest
import torch
from omegaconf import OmegaConf

from trainwright.data.batches import MOST_VALUES, train_examples
from trainwright.data.sources.digits import load_digits_dataset
from trainwright.engine.checkpoint import checkpoint
from trainwright.inference.trained import load_trained
from trainwright.nn.whitening import Whitening

pytestmark = pytest.mark.numeric
TINY = ("model=airbench", "model.widths=[4,4]", "trainer.batch_size=50", "trainer.epochs=1")


def test_the_examples_given_are_the_first_as_the_network_sees_them():
    dataset = load_digits_dataset()
    given = train_examples(dataset, 20)
    scale, shift = (torch.tensor(numbers) for numbers in dataset.info.input.numbers)
    torch.testing.assert_close(given, dataset.train.columns["inputs"][:20].float() * scale + shift)
    assert len(train_examples(dataset, 10**9)) == len(dataset.train)


def test_of_large_images_fewer_are_given(monkeypatch):
    dataset = load_digits_dataset()
    monkeypatch.setattr("trainwright.data.batches.MOST_VALUES", 64 * 3 + 1)
    assert MOST_VALUES > 64 * 1000
    assert len(train_examples(dataset, 20)) == 3


def test_a_network_begins_with_the_patches_of_its_own_training_images(assembled):
    """Whatever the seed; and with those of other images otherwise."""
    networks = {
        name: assembled(*TINY, *more).state.task.model
        for name, more in {
            "one": ["seed=1"],
            "another": ["seed=2"],
            "fewer": ["seed=1", "data.limit=60"],
        }.items()
    }
    filters = {name: network.whitening.weight for name, network in networks.items()}
    assert torch.equal(filters["one"], filters["another"])
    assert not torch.allclose(filters["one"], filters["fewer"], atol=1e-3)
    assert not torch.equal(networks["one"].head.weight, networks["another"].head.weight)
    by_hand = Whitening(1)
    by_hand.fit(train_examples(load_digits_dataset(), 5000))
    assert torch.equal(filters["one"], by_hand.weight)


def test_a_checkpoint_rebuilds_the_network_where_the_data_is_gone(train, tmp_path, monkeypatch):
    train(tmp_path / "run", *TINY)
    path = tmp_path / "run" / "checkpoints" / "last.safetensors"
    monkeypatch.setattr(Whitening, "fit", pytest.fail)
    monkeypatch.setattr("trainwright.data.sources.digits.load_digits_dataset", pytest.fail)
    trained = load_trained(path)
    tensors, _ = checkpoint.load(path)
    kept = tensors["task.model.whitening.weight"]
    assert torch.equal(trained.task.model.whitening.weight, kept)
    assert kept.abs().sum() > 0
    assert trained.task.model(torch.zeros(2, 1, 8, 8)).shape == (2, 10)


def test_a_run_that_goes_on_is_to_the_bit_the_run_that_was_not_stopped(train, resume, tmp_path):
    """With alternating flips, Muon and SGD side by side: what cifar10_fast has beyond others."""
    recipe = (
        "experiment=cifar10_fast", "data=digits", "data.validation=0.1", "model.widths=[4,4]",
        "trainer.batch_size=500", "trainer.epochs=null", "trainer.schedule_until=6",
    )  # fmt: skip
    train(tmp_path / "whole", *recipe, "trainer.steps=6")
    train(tmp_path / "parts", *recipe, "trainer.steps=3")
    resume(tmp_path / "parts", "trainer.steps=6")
    whole, parts = (
        checkpoint.load(tmp_path / name / "checkpoints" / "last.safetensors")[0]
        for name in ("whole", "parts")
    )
    assert whole.keys() == parts.keys()
    assert all(torch.equal(whole[name], parts[name]) for name in whole)
    config = OmegaConf.load(tmp_path / "parts" / "config.yaml")
    assert (config.task.tta, config.data.augment.flip) == ("mirror_shift", "alternating")
    assert config.optimizer.others["_target_"] == "torch.optim.SGD"


def test_examples_of_a_column_by_its_name_come_from_all_over_a_split_that_may_be_sorted():
    dataset = load_digits_dataset()
    given = train_examples(dataset, 20, "inputs")
    spread = dataset.train.columns["inputs"][torch.arange(20) * len(dataset.train) // 20]
    scale, shift = (torch.tensor(numbers) for numbers in dataset.info.input.numbers)
    torch.testing.assert_close(given, spread.float() * scale + shift)

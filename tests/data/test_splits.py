import numpy as np
import pytest
import torch

from trainwright.data.splits import make_dataset, split_arrays, split_indices, split_of, split_sizes
from trainwright.errors import ConfigError, DataError


def test_splits_are_disjoint_and_complete_and_repeatable():
    first = split_indices(101, validation=0.2, test=7, seed=3)
    again = split_indices(101, validation=0.2, test=7, seed=3)
    other = split_indices(101, validation=0.2, test=7, seed=4)
    assert [len(part) for part in first] == [74, 20, 7]
    assert sorted(torch.cat(first).tolist()) == list(range(101))
    assert all(torch.equal(a, b) for a, b in zip(first, again, strict=True))
    assert not torch.equal(first[1], other[1])


def test_every_split_has_the_classes_in_proportion():
    classes = torch.tensor([0] * 700 + [1] * 200 + [2] * 100)[torch.randperm(1000)]
    for part in split_indices(1000, validation=0.1, test=0.2, seed=0, classes=classes):
        share = torch.bincount(classes[part], minlength=3) / len(part)
        assert share.tolist() == pytest.approx([0.7, 0.2, 0.1], abs=1.5 / len(part))


def test_a_limit_keeps_the_classes_in_proportion_and_leaves_the_other_splits_alone():
    classes = torch.arange(1000) % 4
    full = split_indices(1000, validation=100, test=100, seed=5, classes=classes)
    cut = split_indices(1000, validation=100, test=100, seed=5, classes=classes, limit=40)
    assert torch.bincount(classes[cut[0]]).tolist() == [10, 10, 10, 10]
    assert torch.equal(full[1], cut[1])
    assert torch.equal(full[2], cut[2])
    assert set(cut[0].tolist()) <= set(full[0].tolist())


def test_a_class_with_one_example_is_trained_on():
    classes = torch.tensor([0] * 50 + [1])
    for seed in range(20):
        train, _, _ = split_indices(51, validation=0.3, test=0.3, seed=seed, classes=classes)
        assert 50 in train.tolist()


@pytest.mark.parametrize("size", [0.0, 1.0, -1, 1.5, True, -0.1, float("nan")])
def test_a_size_that_is_neither_share_nor_count_is_refused(size):
    with pytest.raises(ConfigError, match=r"data\.validation"):
        split_sizes(100, validation=size, test=0)


@pytest.mark.parametrize("limit", [0, -3])
def test_a_limit_below_one_is_refused(limit):
    with pytest.raises(ConfigError, match=r"data\.limit"):
        split_sizes(100, validation=0.1, test=0, limit=limit)


def test_sizes_that_leave_nothing_to_train_on_are_refused():
    with pytest.raises(ConfigError, match="no training examples"):
        split_sizes(100, validation=60, test=40)
    with pytest.raises(DataError, match="no training examples"):
        split_sizes(2, validation=0.1, test=0.1)


def test_image_statistics_equal_numpy_in_double_precision():
    images = torch.randint(0, 256, (33, 3, 7, 5), dtype=torch.uint8)
    images[:, 2] = 9  # a constant channel
    split = split_of(images, None)
    info = make_dataset("x", train=split, validation=split, test=split, target="none").info
    pixels = images.numpy().astype(np.float64) / 255
    assert info.input.mean == pytest.approx(pixels.mean((0, 2, 3)), rel=1e-12)
    assert info.input.std[:2] == pytest.approx(pixels.std((0, 2, 3))[:2], rel=1e-12)
    assert info.input.std[2] == pytest.approx(1 / 255)
    assert info.input_shape == (3, 7, 5)


def test_image_statistics_do_not_depend_on_the_size_of_a_chunk(monkeypatch):
    images = torch.randint(0, 256, (50, 1, 4, 4), dtype=torch.uint8)
    split = split_of(images, None)
    whole = make_dataset("x", train=split, validation=split, test=split, target="none").info
    monkeypatch.setattr("trainwright.data.statistics.CHUNK_VALUES", 100)
    parts = make_dataset("x", train=split, validation=split, test=split, target="none").info
    assert parts == whole


def test_a_constant_feature_has_a_std_that_can_be_divided_by():
    table = torch.stack((torch.full((10,), 1e7), torch.arange(10.0), torch.zeros(10)), 1)
    split = split_of(table, torch.arange(10.0))
    info = make_dataset("x", train=split, validation=split, test=split, target="values").info
    assert info.input.std == pytest.approx((1.0, np.arange(10).std(), 1.0))
    assert (*info.target_column.mean, *info.target_column.std) == pytest.approx(
        (4.5, np.arange(10).std())
    )
    assert info.num_outputs == 1


def test_a_table_that_is_not_finite_is_refused():
    split = split_of(torch.tensor([[1.0], [float("nan")]]), None)
    with pytest.raises(DataError, match="not finite"):
        make_dataset("x", train=split, validation=split, test=split, target="none")


def test_several_labels_are_outputs_and_not_classes_of_which_an_example_has_one():
    """A GAN asks `num_classes` whether there is a class to be told."""
    images, labels = (
        torch.zeros(40, 1, 8, 8, dtype=torch.uint8),
        torch.eye(4)[:, :3].repeat(10, 1).long(),
    )
    info = split_arrays("tagged", images, labels, class_names=["a", "b", "c"]).info
    assert (info.num_classes, info.num_outputs, info.class_names) == (0, 3, ("a", "b", "c"))

"""The datasets that ship with scikit-learn."""

import sys

import numpy as np
import pytest
import torch
from sklearn import datasets

from trainwright.data.sources import digits
from trainwright.data.sources.digits import load_digits_dataset
from trainwright.data.sources.tabular import NUM_ROWS, load_tabular
from trainwright.errors import ConfigError


def test_digits_are_the_source_scaled_so_that_16_is_255():
    dataset = load_digits_dataset()
    parts = (dataset.train, dataset.validation, dataset.test)
    images = torch.cat([part.inputs for part in parts])
    classes = torch.cat([part.targets for part in parts])
    assert images.dtype == torch.uint8
    assert [len(part) for part in parts] == [1437, 180, 180]
    assert dataset.info.input_shape == (1, 8, 8)
    bunch = datasets.load_digits()
    source = sorted(
        (int(c), np.rint(i / 16 * 255).astype(int).tolist())
        for i, c in zip(bunch.images, bunch.target, strict=True)
    )
    loaded = sorted((int(c), i[0].tolist()) for i, c in zip(images, classes, strict=True))
    assert loaded == source


def test_digits_are_read_without_scikit_learn_and_by_it_where_its_file_is_elsewhere(monkeypatch):
    with monkeypatch.context() as patch:
        patch.setitem(sys.modules, "sklearn.datasets", None)  # to import it is an error
        by_hand = load_digits_dataset()
    monkeypatch.setattr(digits, "_FILE", "elsewhere")
    by_it = load_digits_dataset()
    assert torch.equal(by_hand.train.inputs, by_it.train.inputs)
    assert torch.equal(by_hand.train.targets, by_it.train.targets)


def test_digits_of_another_split_seed_are_other_examples():
    first = load_digits_dataset(split_seed=0)
    second = load_digits_dataset(split_seed=1)
    assert not torch.equal(first.test.inputs, second.test.inputs)
    assert torch.equal(first.test.inputs, load_digits_dataset(limit=10).test.inputs)
    assert len(load_digits_dataset(limit=10).train) == 10


@pytest.mark.parametrize("name", sorted(NUM_ROWS))
def test_tables_are_the_source_in_its_own_units(name):
    dataset = load_tabular(name=name)
    parts = (dataset.train, dataset.validation, dataset.test)
    arguments = {"scaled": False} if name == "diabetes" else {}
    bunch = getattr(datasets, f"load_{name}")(**arguments)
    rows = np.concatenate([torch.column_stack((p.inputs, p.targets)).numpy() for p in parts])
    source = np.column_stack((bunch.data, bunch.target)).astype(np.float32)
    assert np.array_equal(rows[np.lexsort(rows.T)], source[np.lexsort(source.T)])
    assert len(source) == NUM_ROWS[name]
    assert dataset.train.inputs.dtype == torch.float32
    if name == "diabetes":
        assert dataset.info.target == "values"
        assert dataset.train.targets.dtype == torch.float32
    else:
        assert dataset.train.targets.dtype == torch.int64
        assert dataset.info.class_names == tuple(bunch.target_names)


def test_sizes_are_checked_against_the_table():
    with pytest.raises(ConfigError, match="no training examples"):
        load_tabular(name="iris", validation=100, test=50)

"""Folds: every example is in one test split of several, and none of those it is trained with."""

import json

import pytest
import torch

from trainwright.data.sources.digits import load_digits_dataset
from trainwright.data.sources.folder import load_folder
from trainwright.data.sources.tabular import load_tabular
from trainwright.data.splits import Fold, split_indices
from trainwright.data.splits import test_or_fold as size_of_test
from trainwright.data.tables.splitting import share_of, split_rows
from trainwright.errors import ConfigError


def parts(number, of=5, num=103, **more):
    return split_indices(num, validation=0.1, test=Fold(number, of), seed=0, **more)


def test_every_example_is_in_the_test_split_of_one_fold():
    folds = [parts(number) for number in range(5)]
    assert sorted(torch.cat([test for *_, test in folds]).tolist()) == list(range(103))
    for train, validation, test in folds:
        assert sorted(torch.cat([train, validation, test]).tolist()) == list(range(103))
        assert len(test) in (20, 21)
        assert len(validation) == round(0.1 * (103 - len(test)))


def test_each_fold_has_the_classes_in_proportion():
    classes = torch.tensor([0] * 70 + [1] * 23 + [2] * 10)
    for number in range(5):
        train, validation, test = (
            torch.bincount(classes[part], minlength=3).tolist()
            for part in parts(number, classes=classes)
        )
        for c, total in enumerate((70, 23, 10)):
            assert abs(test[c] - total / 5) < 1
            assert abs(validation[c] - 0.08 * total) < 2
            assert train[c] == total - validation[c] - test[c]


def test_a_fold_depends_on_the_split_seed_and_not_on_the_validation_split():
    one, same = parts(2), split_indices(103, validation=7, test=Fold(2, 5), seed=0)
    assert torch.equal(one[2], same[2])
    other = split_indices(103, validation=7, test=Fold(2, 5), seed=1)
    assert not torch.equal(one[2], other[2])


def test_groups_stay_in_one_fold_and_folds_are_of_like_size():
    groups = [f"patient {i % 17}" for i in range(170)]
    tested = []
    for number in range(5):
        train, validation, test = split_rows(
            170, validation=0.1, test=Fold(number, 5), seed=0, limit=None, groups=groups
        )
        names = [{groups[i] for i in part.tolist()} for part in (train, validation, test)]
        assert sum(map(len, names)) == 17  # none is in two
        assert 30 <= len(test) <= 40
        assert len(validation)
        tested += test.tolist()
    assert sorted(tested) == list(range(170))


def test_by_hash_a_row_stays_in_its_fold_whatever_comes_beside_it():
    import numpy as np

    hashes = np.array([share_of(str(i), 0) for i in range(300)])
    for number in range(3):
        few, many = (
            split_rows(n, validation=0.2, test=Fold(number, 3), seed=0, limit=None,
                       hashes=hashes[:n])
            for n in (200, 300)
        )  # fmt: skip
        for before, after in zip(few, many, strict=True):
            assert set(before.tolist()) == {i for i in after.tolist() if i < 200}


@pytest.mark.parametrize("load", [load_digits_dataset, load_tabular])
def test_the_bundled_data_have_folds(load):
    whole = load()
    total = sum(map(len, whole.splits.values()))
    assert sum(len(load(folds=4, fold=fold).test) for fold in range(4)) == total


@pytest.mark.parametrize(
    ("folds", "fold", "message"),
    [
        (1, 0, "null, or 2 to"),
        (5, 5, r"0 to 4\n.*range\(5\)"),
        (5, -1, "0 to 4"),
        (None, 2, "has no effect without data.folds"),
        (True, 0, "null, or 2 to"),
    ],
)
def test_a_fold_that_there_is_not_is_refused(folds, fold, message):
    with pytest.raises(ConfigError, match=message):
        size_of_test(0.1, folds, fold)


def test_a_folder_with_a_test_split_of_its_own_has_no_folds(tmp_path):
    from PIL import Image

    for split in ("train", "test"):
        for label in ("a", "b"):
            (tmp_path / split / label).mkdir(parents=True)
            for number in range(3):
                Image.new("RGB", (4, 4)).save(tmp_path / split / label / f"{number}.png")
    with pytest.raises(ConfigError, match="has a test/ folder"):
        load_folder(path=str(tmp_path), folds=3)


def test_a_run_on_a_fold_tests_on_it(train, tmp_path):
    words = ("data=tabular", "data.folds=3", "data.fold=2", "trainer=smoke")
    run = train(tmp_path / "run", *words).folder
    assert json.loads((run / "summary.json").read_text())["status"] == "finished"

"""Arrays of a person's own, from files: what they are taken for, and what is refused in words."""

import json
import pickle

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from trainwright.data.columns import Image, Numbers, Series, Values, column_of
from trainwright.data.sources.array_files import read_arrays
from trainwright.data.sources.arrays import load_arrays
from trainwright.errors import ConfigError, DataError

RANDOM = np.random.default_rng(0)
CLASSES = np.arange(40) % 4
SERIES = RANDOM.normal(3, 2, (40, 16, 2))


def saved(folder, **arrays):
    np.savez(folder / "data.npz", **arrays)
    return load_arrays(path=str(folder / "data.npz"))


def all_rows(dataset, name):
    splits = (dataset.train, dataset.validation, dataset.test)
    return torch.cat([split.columns[name] for split in splits])


@pytest.mark.parametrize(
    ("array", "kind", "shape"),
    [
        (RANDOM.normal(size=(40, 5)), Numbers, (5,)),
        (RANDOM.normal(size=40), Numbers, (1,)),
        (SERIES, Series, (16, 2)),
        (RANDOM.integers(0, 256, (40, 8, 9), dtype=np.uint8), Image, (1, 8, 9)),
        (RANDOM.integers(0, 256, (40, 8, 9, 3), dtype=np.uint8), Image, (3, 8, 9)),
        (RANDOM.random((40, 3, 8, 9)), Image, (3, 8, 9)),
    ],
)
def test_the_shape_tells_the_kind(tmp_path, array, kind, shape):
    dataset = saved(tmp_path, x=array, y=CLASSES)
    assert isinstance(dataset.info.input, kind)
    assert dataset.info.input_shape == shape
    assert dataset.info.num_classes == 4
    assert [len(split) for split in dataset.splits.values()] == [32, 4, 4]


def test_a_kind_that_is_typed_counts(tmp_path):
    path = str(tmp_path / "data.npz")
    np.savez(path, x=RANDOM.random((40, 8, 9)), y=CLASSES)
    assert load_arrays(path=path).info.input_shape == (8, 9)
    assert load_arrays(path=path, kind="image").info.input_shape == (1, 8, 9)
    assert load_arrays(path=path, kind="table").info.input_shape == (72,)


def test_every_row_and_its_target_are_in_one_split(tmp_path):
    dataset = saved(tmp_path, x=np.arange(40.0)[:, None], y=np.arange(40.0) * 3)
    rows, targets = all_rows(dataset, "inputs")[:, 0], all_rows(dataset, "targets")
    assert sorted(rows.tolist()) == list(range(40))
    assert torch.equal(targets, rows * 3)
    assert isinstance(dataset.info.target_column, Values)


def test_arrays_are_found_by_what_they_are_usually_called_or_by_their_names(tmp_path):
    assert saved(tmp_path, Labels=CLASSES, X=SERIES).info.num_classes == 4
    np.savez(tmp_path / "odd.npz", left=SERIES, right=SERIES[..., :1], kind=CLASSES)
    path = str(tmp_path / "odd.npz")
    dataset = load_arrays(path=path, inputs=["left", "right"], targets="kind")
    assert dataset.info.inputs == ("left", "right")
    assert dataset.info.columns["right"].shape == (16, 1)
    assert load_arrays(path=path, inputs="left", targets="none").info.targets == ()
    with pytest.raises(ConfigError, match=r"none is called x.*\n.*left \(40, 16, 2\)"):
        load_arrays(path=path)
    with pytest.raises(ConfigError, match="did you mean left"):
        load_arrays(path=path, inputs="lefd", targets="kind")
    with pytest.raises(ConfigError, match="left is an input already"):
        load_arrays(path=path, inputs="left", targets="left")


@pytest.mark.parametrize(
    ("targets", "names"),
    [
        (np.array(["no", "yes"] * 20), ("no", "yes")),
        (CLASSES, ("0", "1", "2", "3")),
        (CLASSES + 1, ("1", "2", "3", "4")),
        (np.where(CLASSES > 1, 1, -1), ("-1", "1")),
        (CLASSES > 1, ("0", "1")),
    ],
)
def test_classes_are_words_or_whole_numbers(tmp_path, targets, names):
    dataset = saved(tmp_path, x=np.arange(40.0), y=targets)
    assert dataset.info.class_names == names
    rows = all_rows(dataset, "inputs")[:, 0].long()
    told = [names[i] for i in all_rows(dataset, "targets").tolist()]
    wanted = [str(t) if not isinstance(t, np.bool_) else str(int(t)) for t in targets[rows]]
    assert told == wanted


def test_many_whole_numbers_are_no_classes_unless_said_so(tmp_path):
    np.savez(tmp_path / "data.npz", x=np.arange(100.0), y=np.arange(100) * 7)
    path = str(tmp_path / "data.npz")
    with pytest.raises(DataError, match=r"100 different whole numbers.*\n.*target_kind=values"):
        load_arrays(path=path)
    assert load_arrays(path=path, target_kind="values").info.target == "values"


def test_a_series_is_standardised_by_channel_as_training_has_it(tmp_path):
    dataset = saved(tmp_path, x=SERIES * [1, 1000], y=CLASSES)
    column, train = dataset.info.input, dataset.train.columns["inputs"]
    seen = column.preparation(torch.device("cpu"))(train).double()
    torch.testing.assert_close(seen.mean((0, 1)), torch.zeros(2).double(), atol=1e-5, rtol=0)
    deviations = seen.flatten(0, 1).std(0, correction=0)
    torch.testing.assert_close(deviations, torch.ones(2).double(), atol=1e-5, rtol=0)
    torch.testing.assert_close(column.scaled(train, **column.constants()).double(), seen,
                               atol=1e-5, rtol=0)  # fmt: skip
    assert column_of(json.loads(json.dumps(column.plain()))) == column


def test_the_same_arrays_come_from_every_kind_of_file(tmp_path):
    x, y = torch.from_numpy(SERIES).float(), torch.from_numpy(CLASSES)
    np.savez(tmp_path / "a.npz", x=x, y=y)
    torch.save({"x": x, "y": y}, tmp_path / "b.pt")
    torch.save((x, y), tmp_path / "c.pth")
    save_file({"x": x, "y": y}, tmp_path / "d.safetensors")
    (tmp_path / "e").mkdir()
    np.save(tmp_path / "e" / "x.npy", x)
    np.save(tmp_path / "e" / "y.npy", y)
    for name in ("a.npz", "b.pt", "c.pth", "d.safetensors", "e"):
        found = read_arrays(tmp_path / name)
        assert sorted(found) == ["x", "y"], name
        assert torch.equal(torch.as_tensor(found["x"]), x)
        assert torch.equal(torch.as_tensor(found["y"]), y)


class Loud:
    def __reduce__(self):
        return (pytest.fail, ("something of the file was run",))


def test_nothing_in_a_file_is_run(tmp_path):
    np.savez(tmp_path / "a.npz", x=np.array([Loud()] * 40, dtype=object), y=CLASSES)
    (tmp_path / "b.pt").write_bytes(pickle.dumps({"x": Loud()}))
    torch.save({"x": Loud()}, tmp_path / "c.pt")
    for name in ("a.npz", "b.pt", "c.pt"):
        with pytest.raises(DataError, match=r"which could do anything|no file of torch's"):
            load_arrays(path=str(tmp_path / name))


@pytest.mark.parametrize("name", ["a.npz", "a.npy", "a.pt", "a.safetensors"])
@pytest.mark.parametrize("content", [b"", b"nothing of the kind", b"PK\x03\x04" + bytes(60)])
def test_a_damaged_file_is_named(tmp_path, name, content):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError, match=name):
        read_arrays(tmp_path / name)


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"x": SERIES, "y": CLASSES[:-1]}, "40 of inputs, 39 of targets"),
        ({"x": np.full((40, 3), np.nan), "y": CLASSES}, "not finite"),
        ({"x": np.where(SERIES > 5, np.inf, SERIES), "y": CLASSES}, "series hold values that are"),
        ({"x": np.zeros((0, 3)), "y": CLASSES[:0]}, "no examples"),
        ({"x": np.zeros((40, 2, 2, 2, 2)), "y": CLASSES}, "shape"),
        ({"x": np.array(["a"] * 40), "y": CLASSES}, "not an array of numbers"),
    ],
)
def test_what_cannot_be_learned_from_is_refused(tmp_path, arrays, message):
    with pytest.raises(DataError, match=message):
        saved(tmp_path, **arrays)


def test_a_file_that_is_not_there_or_of_another_kind_is_named(tmp_path):
    with pytest.raises(DataError, match="no such file"):
        load_arrays(path=str(tmp_path / "none.npz"))
    (tmp_path / "table.csv").write_text("a,b\n1,2\n")
    with pytest.raises(DataError, match="data=table"):
        load_arrays(path=str(tmp_path / "table.csv"))
    with pytest.raises(DataError, match=r"holds no \.npy"):
        load_arrays(path=str(tmp_path))


def test_arrays_that_are_split_in_three_already_stay_so(tmp_path):
    parts = np.split(np.arange(60.0)[:, None], [40, 55])
    split = dict(zip(("X_train", "X_valid", "X_test"), parts, strict=True))
    split |= {name.replace("X", "y"): (part[:, 0] % 2).astype(int) for name, part in split.items()}
    dataset = saved(tmp_path, **split)
    for part, wanted in zip((dataset.validation, dataset.test), parts[1:], strict=True):
        assert part.columns["inputs"].tolist() == wanted.tolist()
        assert part.columns["targets"].tolist() == (wanted[:, 0] % 2).tolist()
    assert sorted(dataset.train.columns["inputs"][:, 0].tolist()) == parts[0][:, 0].tolist()
    del split["X_test"], split["y_test"]
    assert [len(part) for part in saved(tmp_path, **split).splits.values()] == [36, 15, 4]


def test_arrays_that_are_split_already_keep_their_test(tmp_path):
    rows, targets = np.arange(50.0)[:, None], np.arange(50) % 2
    split = {"x_train": rows[:40], "y_train": targets[:40], "x_test": rows[40:]}
    dataset = saved(tmp_path, **split, y_test=targets[40:])
    assert dataset.test.columns["inputs"][:, 0].tolist() == list(range(40, 50))
    assert dataset.test.columns["targets"].tolist() == targets[40:].tolist()
    assert [len(part) for part in dataset.splits.values()] == [36, 4, 10]
    assert sorted(all_rows(dataset, "inputs")[:, 0].tolist()) == list(range(50))
    with pytest.raises(ConfigError, match="a test split of its own"):
        load_arrays(path=str(tmp_path / "data.npz"), folds=3)
    with pytest.raises(DataError, match=r"differ in length: 5, 10"):
        saved(tmp_path, **split, y_test=targets[45:])

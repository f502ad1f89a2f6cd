"""`data=hf`: saved datasets and Parquet, images and rows, by the features that they declare."""

import json

import numpy as np
import pytest
import torch
from PIL import Image

from trainwright.data.dataset import INPUTS, TARGETS
from trainwright.data.sources.hf import load_hf
from trainwright.errors import ConfigError, DataError

datasets = pytest.importorskip("datasets")
pytestmark = pytest.mark.slow  # it takes seconds to import

NAMES = ["cat", "dog", "fox"]


def pictures(num, seed=0):
    draw = np.random.default_rng(seed)
    features = datasets.Features(img=datasets.Image(), label=datasets.ClassLabel(names=NAMES))
    pixels = draw.integers(0, 256, (num, 8, 8, 3), dtype=np.uint8)
    columns = {"img": [Image.fromarray(p) for p in pixels], "label": [i % 3 for i in range(num)]}
    return datasets.Dataset.from_dict(columns, features=features), pixels


def rows(num=120):
    draw = np.random.default_rng(0)
    columns = {
        "age": draw.integers(18, 80, num).tolist(),
        "plan": draw.choice(["basic", "plus"], num).tolist(),
        "kind": draw.integers(0, 3, num).tolist(),
    }
    features = datasets.Features(
        age=datasets.Value("int64"),
        plan=datasets.Value("string"),
        kind=datasets.ClassLabel(names=NAMES),
    )
    return datasets.Dataset.from_dict(columns, features=features)


def test_images_are_those_that_were_saved_in_the_splits_that_they_have(tmp_path):
    (train, pixels), (test, others) = pictures(60), pictures(12, seed=1)
    datasets.DatasetDict(train=train, test=test).save_to_disk(tmp_path / "a")
    data = load_hf(path=str(tmp_path / "a"), size=8)
    assert [len(split) for split in data.splits.values()] == [54, 6, 12]
    assert data.info.class_names == tuple(NAMES)
    found = data.test.take(torch.arange(12))
    assert np.array_equal(found[INPUTS].permute(0, 2, 3, 1).numpy(), others)
    assert found[TARGETS].tolist() == [i % 3 for i in range(12)]
    known = {p.tobytes(): i % 3 for i, p in enumerate(pixels)}
    for split in (data.train, data.validation):
        columns = split.take(torch.arange(len(split)))
        for image, label in zip(columns[INPUTS], columns[TARGETS], strict=True):
            assert known[image.permute(1, 2, 0).contiguous().numpy().tobytes()] == label
    with pytest.raises(ConfigError, match="a test split of its own"):
        load_hf(path=str(tmp_path / "a"), folds=3)


def test_rows_become_a_table_with_the_names_of_their_classes(tmp_path):
    rows().save_to_disk(tmp_path / "a")
    data = load_hf(path=str(tmp_path / "a"), root=str(tmp_path / "root"), validation=0.2, test=0.2)
    assert data.info.class_names == tuple(NAMES)
    assert data.info.columns["numbers"].names == ("age",)
    assert data.info.columns["categories"].names == ("plan",)
    everything = torch.cat([s.take(torch.arange(len(s)))["numbers"] for s in data.splits.values()])
    assert sorted(everything[:, 0].tolist()) == sorted(rows()["age"])


def test_parquet_is_read_and_a_column_that_it_lacks_is_named(tmp_path):
    pictures(30)[0].to_parquet(tmp_path / "a.parquet")
    data = load_hf(path=str(tmp_path / "a.parquet"), size=8, folds=3, fold=1)
    assert len(data.test) == 10
    with pytest.raises(ConfigError, match="did you mean label"):
        load_hf(path=str(tmp_path / "a.parquet"), target="lable")
    (tmp_path / "b").mkdir()
    with pytest.raises(DataError, match="no saved dataset and no Parquet"):
        load_hf(path=str(tmp_path / "b"))


def test_an_example_without_a_class_or_an_image_is_named(tmp_path):
    data, _ = pictures(30)
    columns = {"img": data["img"][:30], "label": [0, 1, -1, *[2] * 27]}
    datasets.Dataset.from_dict(columns, features=data.features).save_to_disk(tmp_path / "a")
    with pytest.raises(DataError, match="row 3 has none"):
        load_hf(path=str(tmp_path / "a"))
    raw = data.cast_column("img", datasets.Image(decode=False))
    cells = [{"bytes": b"no image", "path": None}, *raw["img"][1:]]
    bad = datasets.Dataset.from_dict(
        {"img": cells, "label": data["label"][:]}, features=raw.features
    )
    bad.cast_column("img", datasets.Image()).save_to_disk(tmp_path / "b")
    with pytest.raises(DataError, match="row"):
        load_hf(path=str(tmp_path / "b"))


def test_a_run_learns_from_a_saved_dataset(train, tmp_path):
    pictures(60)[0].save_to_disk(tmp_path / "a")
    words = ("data=hf", f"data.path={tmp_path / 'a'}", "data.size=8", "model=cnn", "trainer=smoke")
    train(tmp_path / "run", *words)
    summary = json.loads((tmp_path / "run" / "summary.json").read_text())
    assert summary["status"] == "finished"

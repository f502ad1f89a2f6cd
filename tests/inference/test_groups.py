"""Groups of examples and what is measured in them, by hand as fairlearn defines it."""

import csv
import random
import shutil

import numpy as np
import pytest
import torch
from PIL import Image
from sklearn.metrics import confusion_matrix, precision_recall_fscore_support

from trainwright.data.images.decode import decode_image
from trainwright.data.sources.folder import load_folder
from trainwright.data.sources.table import load_table
from trainwright.data.sources.tabular import load_tabular
from trainwright.errors import ConfigError, DataError
from trainwright.inference.fairness import by_group, parity
from trainwright.inference.groups import groups_of
from trainwright.tasks.metrics.classification import ClassificationMetrics
from trainwright.tasks.metrics.metric import Metric

pytestmark = pytest.mark.numeric


def spread(values):
    return max(values) - min(values)


def test_parity_and_odds_are_those_that_a_hand_computes():
    # fairlearn: the selection rate is the share that is predicted positive; the demographic parity
    # difference is its largest less its smallest over the groups, the ratio smallest / largest; the
    # equalised odds difference is the larger of the differences of true and false positive rates.
    a = torch.tensor([[1, 1], [1, 1]])  # truth 1 1 0 0, predicted 1 0 1 0
    b = torch.tensor([[3, 0], [0, 1]])  # truth 1 0 0 0, predicted 1 0 0 0
    found = parity(("no", "yes"), {"a": a, "b": b})["yes"]
    assert found["selected"] == {
        "low_group": "b", "low": 0.25, "high_group": "a", "high": 0.5, "gap": 0.25,
    }  # fmt: skip
    assert found["demographic_parity_difference"] == 0.25
    assert found["demographic_parity_ratio"] == 0.5
    assert found["true_positive"]["gap"] == 0.5
    assert found["false_positive"]["gap"] == 0.5
    assert found["equalised_odds_difference"] == 0.5


def drawn(num=300, num_classes=3):
    draw = np.random.default_rng(0)
    truth, group = draw.integers(num_classes, size=num), draw.choice(list("abc"), size=num)
    logits = draw.normal(size=(num, num_classes)) + 2 * np.eye(num_classes)[truth]
    logits[group == "b", 0] += 1.5
    return logits, truth, group


def measured(logits, truth, group, **options):
    metric = ClassificationMetrics("targets", ("x", "y", "z"), top_k=5)
    answers = {"logits": torch.from_numpy(logits), "loss": torch.zeros(len(truth))}
    metric.update({"targets": torch.from_numpy(truth)}, answers)
    groups = {name: torch.from_numpy(np.flatnonzero(group == name)) for name in np.unique(group)}
    return by_group(metric, groups, seed=0, **{"num_resamples": 0, **options})


def test_every_group_is_measured_as_scikit_learn_measures_its_examples():
    logits, truth, group = drawn()
    predicted = logits.argmax(axis=1)
    found = measured(logits, truth, group)
    selected, true, false = [], [], []
    for name in "abc":
        t, p = truth[group == name], predicted[group == name]
        scores = precision_recall_fscore_support(t, p, average="macro", zero_division=0)
        told = found["groups"][name]
        assert told["num_examples"] == len(t)
        assert told["metrics"]["accuracy"]["value"] == pytest.approx((t == p).mean())
        assert told["metrics"]["recall"]["value"] == pytest.approx(scores[1])
        (tn, fp), (fn, tp) = confusion_matrix(t == 0, p == 0)
        selected.append((p == 0).mean())
        true.append(tp / (tp + fn))
        false.append(fp / (fp + tn))
    told = found["parity"]["x"]
    assert told["demographic_parity_difference"] == pytest.approx(spread(selected))
    assert told["demographic_parity_ratio"] == pytest.approx(min(selected) / max(selected))
    assert told["equalised_odds_difference"] == pytest.approx(max(spread(true), spread(false)))
    assert told["selected"]["high_group"] == "b"


def test_the_interval_of_a_gap_is_newcombes():
    # Newcombe 1998, table II (a): 56 of 70 less 48 of 80, by method 10 from 0.0524 to 0.3339.
    truth = np.zeros(150, dtype=np.int64)
    predicted = np.r_[np.zeros(56), np.ones(14), np.zeros(48), np.ones(32)].astype(np.int64)
    found = measured(np.eye(3)[predicted], truth, np.array(["a"] * 70 + ["b"] * 80))
    gap = found["gaps"]["accuracy"]
    assert (gap["low_group"], gap["high_group"]) == ("b", "a")
    assert gap["gap"] == pytest.approx(0.2)
    assert gap["interval"] == pytest.approx([0.0524, 0.3339], abs=5e-5)


def test_small_groups_are_named_and_what_has_no_examples_is_left_out():
    logits, truth, group = drawn()
    found = measured(logits, truth, group, few=1000)
    assert found["small"] == ["a", "b", "c"]
    only = {"a": torch.tensor([[3, 0], [0, 0]]), "b": torch.tensor([[2, 1], [0, 0]])}
    told = parity(("no", "yes"), only)["yes"]
    assert told["true_positive"] is None
    assert (
        told["equalised_odds_difference"] == told["false_positive"]["gap"] == pytest.approx(1 / 3)
    )


def test_a_metric_that_keeps_no_examples_is_refused():
    class Blind(Metric):
        def update(self, batch, answers): ...
        def merge(self, other): ...
        def compute(self):
            return {}

    with pytest.raises(ConfigError, match="nothing of single examples"):
        by_group(Blind(), {"a": torch.tensor([0])}, seed=0, num_resamples=0)


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    """150 rows, of which one column is not learned from, some cells missing, and one constant."""
    path = tmp_path_factory.mktemp("table") / "rows.csv"
    draw = random.Random(0)
    with path.open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["number", "site", "age", "same", "y"])
        for number in range(150):
            site = draw.choice(["north", "south", ""])
            rows.writerow([number, site, draw.randint(18, 80), "x", draw.choice(["no", "yes"])])
    return path


def loaded(table):
    return load_table(path=str(table), target="y", columns=["number"], test=0.4)


def test_the_cells_of_a_column_are_those_of_the_rows_of_the_split(table):
    dataset = loaded(table)
    rows = csv.DictReader(table.read_text().splitlines())
    cells = {row["number"]: row["site"] for row in rows}
    for split in ("train", "validation", "test"):
        numbers = dataset.splits[split].take(torch.arange(len(dataset.splits[split])))["numbers"]
        expected = [cells[str(int(number))] for number in numbers[:, 0]]
        assert dataset.origins.column(split, "site") == expected


def test_groups_are_in_order_what_is_missing_last_and_many_numbers_are_quarters(table):
    dataset = loaded(table)
    assert list(groups_of(dataset, "test", "site")) == ["north", "south", "(missing)"]
    ages = np.array([int(age) for age in dataset.origins.column("test", "age")])
    found = groups_of(dataset, "test", "age")
    assert len(found) == 4
    ends = []
    for name, places in found.items():
        part = ages[places.numpy()]
        assert name == f"{part.min()} to {part.max()}"
        assert 11 <= len(part) <= 19  # a fourth of 60, but for equal ages
        ends += [part.min(), part.max()]
    assert ends == sorted(ends)
    assert sum(map(len, found.values())) == 60


@pytest.mark.parametrize(
    ("wanted", "told"),
    [
        ("sit", "no column sit; did you mean site"),
        ("same", "only one group, x"),
        ("a.csv:b", "have no file names"),
    ],
)
def test_what_is_no_group_of_rows_is_said(table, wanted, told):
    with pytest.raises(DataError, match=told):
        groups_of(loaded(table), "test", wanted)


def test_a_feature_of_arrays_is_a_group_too():
    dataset = load_tabular(name="wine")
    found = groups_of(dataset, "test", "alcohol")
    assert len(found) == 4
    alcohol = dataset.test.columns["inputs"][:, 0]
    means = [float(alcohol[places].mean()) for places in found.values()]
    assert means == sorted(means)
    with pytest.raises(DataError, match="no column of that name"):
        groups_of(dataset, "test", "alcool")


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    """Two classes of ten images of one grey each, one file no image, and who took which."""
    root = tmp_path_factory.mktemp("photos")
    for label, name in enumerate(("cat", "dog")):
        (root / "all" / name).mkdir(parents=True)
        for number in range(10):
            grey = Image.new("L", (8, 8), 10 * number + 5 * label)
            grey.save(root / "all" / name / f"{name}{number}.png")
            where = root / "by_site" / ("east" if number % 2 else "west") / name
            where.mkdir(parents=True, exist_ok=True)
            shutil.copy(root / "all" / name / f"{name}{number}.png", where)
    (root / "all" / "cat" / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\n none")
    lines = [f"{n}{i}.png,{'east' if i % 2 else 'west'}" for n in ("cat", "dog") for i in range(9)]
    (root / "sites.csv").write_text("\n".join(["file,site", *lines, ""]))
    return root


@pytest.mark.parametrize("wanted", ["sites.csv", "sites.csv:site", "by_site"])
def test_image_files_are_grouped_by_a_table_or_by_folders(photos, wanted):
    dataset = load_folder(
        path=str(photos / "all"), size=8, channels=1, on_bad="skip", root=str(photos), test=0.5
    )
    names = dataset.origins.names["test"]
    pixels = dataset.test.take(torch.arange(len(dataset.test)))["inputs"]
    for name, stored in zip(names, pixels, strict=True):
        path = photos / "all" / name
        assert np.array_equal(stored, decode_image(path, size=(8, 8), channels=1, fit="crop"))
    found = groups_of(dataset, "test", str(photos / wanted))
    by_name = {g: sorted(names[i] for i in places.tolist()) for g, places in found.items()}
    last = ("9",) if wanted != "by_site" else ()  # which the table does not name
    for group, odd in (("east", "13579"), ("west", "02468")):
        kept = [n for n in names if n[-5] in odd and n[-5] not in last]
        assert by_name[group] == sorted(kept)


def test_a_table_that_names_none_of_the_files_is_refused(photos, tmp_path):
    dataset = load_folder(
        path=str(photos / "all"), size=8, channels=1, on_bad="skip", root=str(photos), test=0.5
    )
    (tmp_path / "a.csv").write_text("file,site,day\nx.png,a,b\n")
    with pytest.raises(DataError, match=r"a.csv:COLUMN, of site, day"):
        groups_of(dataset, "test", str(tmp_path / "a.csv"))
    with pytest.raises(DataError, match="names none of the 9 image files"):
        groups_of(dataset, "test", f"{tmp_path / 'a.csv'}:day")

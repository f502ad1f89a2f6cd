"""`runs evaluate`: the numbers of a run's test split, against scikit-learn, SciPy and by hand."""

import json
import shutil
import sys

import numpy as np
import pytest
import torch
from PIL import Image
from scipy.stats import binomtest, bootstrap
from sklearn.calibration import calibration_curve
from sklearn.metrics import brier_score_loss, precision_recall_fscore_support, roc_auc_score

from trainwright.data.sources.digits import load_digits_dataset
from trainwright.inference.intervals import bootstrap as our_bootstrap
from trainwright.inference.intervals import wilson
from trainwright.inference.trained import in_order, load_trained
from trainwright.tasks.metrics.calibration import (
    brier_scores,
    expected_calibration_error,
    reliability,
)

pytestmark = pytest.mark.numeric


@pytest.fixture
def measured(call, real_root):
    """Call `runs evaluate ... --json` on a real run and return what it says."""

    def evaluate(run, *words):
        code, out, err = call("evaluate", run, *words, "--json", f"--root={real_root}")
        assert code == 0, err
        return json.loads(out)

    return evaluate


@pytest.mark.parametrize("run", ["mlp", "gan"])
def test_the_test_split_gives_what_the_run_itself_found(run, measured, real_root):
    found = measured(run, "resamples=0")
    folder = next(real_root.glob(f"*/*{run}*"))
    summary = json.loads((folder / "summary.json").read_text())["test"]
    numbers = {k: v for k, v in summary.items() if k not in ("confusion", "per_class")}
    assert {name: m["value"] for name, m in found["metrics"].items()} == numbers
    if run == "mlp":
        assert found["confusion"] == summary["confusion"]


def test_metrics_and_tables_are_those_of_scikit_learn(measured):
    found = measured("mlp", "resamples=0")
    confusion = np.array(found["confusion"])
    pairs = [(t, p) for t in range(10) for p in range(10) for _ in range(confusion[t, p])]
    truth, predicted = np.array(pairs).T
    assert len(pairs) == found["num_examples"] == 180
    expected = precision_recall_fscore_support(truth, predicted, labels=range(10), zero_division=0)
    for name, column in zip(("precision", "recall", "f1", "support"), expected, strict=True):
        np.testing.assert_allclose(found["per_class"][name], column)
    interval = binomtest(int((truth == predicted).sum()), 180).proportion_ci(method="wilson")
    assert found["metrics"]["accuracy"]["interval"] == pytest.approx(list(interval))
    assert found["metrics"]["accuracy"]["method"] == "Wilson score"


@pytest.mark.parametrize(("hits", "trials"), [(0, 10), (10, 10), (7, 9), (981, 1000), (0, 1)])
def test_wilsons_interval_is_scipys(hits, trials):
    expected = binomtest(hits, trials).proportion_ci(confidence_level=0.95, method="wilson")
    assert wilson(hits, trials) == pytest.approx(tuple(expected), abs=1e-12)


def test_the_bootstrap_interval_is_scipys():
    numbers = torch.randn(200, generator=torch.Generator().manual_seed(0)).double() ** 2
    ours = our_bootstrap(
        lambda indices: {"mean": float(numbers[indices].mean())},
        len(numbers),
        seed=0,
        num_resamples=4000,
    )["mean"]
    theirs = bootstrap(
        (numbers.numpy(),), np.mean, n_resamples=4000, method="percentile", rng=0
    ).confidence_interval
    spread = theirs.high - theirs.low
    assert ours == pytest.approx((theirs.low, theirs.high), abs=0.05 * spread)


def test_calibration_is_that_of_scikit_learn():
    generator = torch.Generator().manual_seed(0)
    logits = 2 * torch.randn(500, 4, generator=generator)
    targets = torch.multinomial(torch.softmax(logits, 1), 1, generator=generator)[:, 0]
    probabilities = torch.softmax(3 * logits.double(), dim=1)  # too sure of itself
    confidence, predicted = probabilities.max(dim=1)
    bins = reliability(confidence, predicted == targets, num_bins=15)
    correct = (predicted == targets).numpy()
    share, mean = calibration_curve(correct, confidence.numpy(), n_bins=15)
    filled = [b for b in bins if b.num_examples]
    np.testing.assert_allclose([b.accuracy for b in filled], share)
    np.testing.assert_allclose([b.confidence for b in filled], mean)
    weights = np.array([b.num_examples for b in filled]) / 500
    error = expected_calibration_error(bins)
    assert error == pytest.approx(float((weights * np.abs(share - mean)).sum()))
    assert error > 0.05
    theirs = brier_score_loss(targets.numpy(), probabilities.numpy(), scale_by_half=False)
    assert float(brier_scores(probabilities, targets).mean()) == pytest.approx(theirs)


def test_two_examples_calibrated_by_hand():
    probabilities = torch.tensor([[0.9, 0.1], [0.4, 0.6]], dtype=torch.float64)
    confidence, predicted = probabilities.max(dim=1)
    bins = reliability(confidence, predicted == torch.tensor([0, 0]), num_bins=2)
    assert [b.num_examples for b in bins] == [0, 2]
    assert expected_calibration_error(bins) == pytest.approx(abs(0.75 - 0.5))


def test_intervals_of_all_metrics_hold_their_value_and_say_how_they_were_found(measured):
    found = measured("mlp", "resamples=200")["metrics"]
    for name, metric in found.items():
        low, high = metric["interval"]
        assert low <= metric["value"] <= high, name
    assert found["loss"]["method"] == "bootstrap percentile"
    assert measured("mlp", "resamples=200")["metrics"] == found  # the same again


def test_another_split_or_other_data_of_the_same_kind(measured):
    assert measured("mlp", "split=validation", "resamples=0")["num_examples"] == 180
    assert measured("mlp", "data.test=0.2", "resamples=0")["num_examples"] == 359
    found = measured("mlp", "data=digits", "data.test=50", "resamples=0")
    assert found["num_examples"] == 50


def test_the_precision_is_chosen_and_told(measured):
    exact, rounded = (measured("mlp", f"precision={p}", "resamples=0") for p in ("fp32", "bf16"))
    assert (exact["precision"], rounded["precision"]) == ("fp32", "bf16")
    losses = [found["metrics"]["loss"]["value"] for found in (exact, rounded)]
    assert losses[0] != losses[1] == pytest.approx(losses[0], abs=0.05)


SAID = "digits is not split as this run was trained on it: its training examples may be among these"


def test_other_splits_of_the_runs_own_data_are_warned_of(call, real_root):
    """With data.test=0.5 most of the test split is what the run was trained on."""
    for words, is_warned in [
        ([], False),
        (["split=validation"], False),
        (["data.test=0.1"], False),
        (["data.limit=50", "split=train"], False),
        (["data.test=0.5"], True),
        (["data.split_seed=1", "data.validation=5"], True),
        (["data=digits", "data.test=50"], False),  # another dataset, for all we know
    ]:
        result = call("evaluate", "mlp", *words, "resamples=0", "--json", "--root", str(real_root))
        assert result[2] == (f"warning: {SAID}\n" if is_warned else ""), words
        assert json.loads(result[1]).get("warning") == (SAID if is_warned else None)


def test_classes_of_other_data_are_matched_by_name(measured, tmp_path):
    from trainwright.data.sources.digits import load_digits_dataset

    test = load_digits_dataset().test
    for number, label in enumerate(test.columns["targets"].tolist()):
        if label in (3, 7):
            folder = tmp_path / "photos" / str(label)
            folder.mkdir(parents=True, exist_ok=True)
            Image.fromarray(test.columns["inputs"][number, 0].numpy()).save(
                folder / f"{number}.png"
            )
    found = measured(
        "mlp", "data=folder", f"data.path={tmp_path / 'photos'}", "data.size=8", "data.channels=1",
        "data.test=0.9", "data.validation=1", f"data.root={tmp_path / 'cache'}", "resamples=0",
    )  # fmt: skip
    counts = np.array(found["confusion"]).sum(axis=1)
    assert [i for i, count in enumerate(counts) if count] == [3, 7]
    assert counts.sum() == found["num_examples"] == round(0.9 * 36)


@pytest.fixture(scope="module")
def stretched(train, tmp_path_factory):
    """Wide pictures with a light at one end, which a crop loses, and a run that stretches them."""
    there = tmp_path_factory.mktemp("stretched")
    for number in range(40):
        side = number % 2
        picture = Image.new("L", (48, 16), number)
        picture.paste(200 + number, (40 * side, 0, 40 * side + 8, 16))
        (there / "wide" / "lr"[side]).mkdir(parents=True, exist_ok=True)
        picture.save(there / "wide" / "lr"[side] / f"{number}.png")
    settings = ("data.size=16", "data.channels=1", "data.fit=stretch", f"data.root={there}")
    train(
        there / "run", "data=folder", f"data.path={there / 'wide'}", *settings, "model=mlp",
        "model.widths=[16]", "trainer.batch_size=16", "trainer.steps=60", "optimizer.lr=1e-2",
    )  # fmt: skip
    return there


def test_files_of_other_data_are_prepared_as_in_training(stretched, call):
    words = ["evaluate", str(stretched / "run"), "data=folder", f"data.path={stretched / 'wide'}"]
    words += [f"data.root={stretched}", "data.split_seed=1", "resamples=0"]
    for typed in ([], ["data.size=16"], ["data.fit=stretch", "data.channels=1"]):
        code, out, err = call(*words, *typed, "--json")
        assert code == 0, err
        assert json.loads(out)["metrics"]["accuracy"]["value"] == 1, typed


def test_so_are_those_of_a_source_of_ones_own(stretched, call, tmp_path, monkeypatch):
    """Any that takes what images were prepared with; its defaults don't count."""
    (tmp_path / "configs" / "data").mkdir(parents=True)
    (tmp_path / "configs" / "data" / "mine.yaml").write_text(
        "_target_: own_source_of_files.load\npath: ???\nsize: 8\nchannels: 3\nfit: crop\n"
    )
    (tmp_path / "own_source_of_files.py").write_text(
        "from trainwright.data.dataset import Dataset\n"
        "from trainwright.data.sources.folder import load_folder\n"
        "def load(*, path: str, size: int, channels: int, fit: str) -> Dataset:\n"
        f"    return load_folder(path=path, size=size, channels=channels, fit=fit,\n"
        f"                       root={str(stretched)!r})\n"
    )
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    words = ["evaluate", str(stretched / "run"), "data=mine", f"data.path={stretched / 'wide'}"]
    code, out, err = call(*words, "resamples=0", "--json")
    assert code == 0, err
    assert json.loads(out)["metrics"]["accuracy"]["value"] == 1
    code, _, err = call(*words, "data.fit=crop")
    assert code == 2
    assert "data.fit=crop: this run has learned inputs prepared with data.fit=stretch" in err


@pytest.mark.parametrize(
    ("typed", "trained"),
    [
        ("data.fit=crop", "fit=stretch"),
        ("data.size=32", "size=16"),
        ("data.channels=3", "channels=1"),
    ],
)
@pytest.mark.parametrize("is_named", [True, False], ids=["other data", "its own"])
def test_another_preparation_than_in_training_is_refused(stretched, call, typed, trained, is_named):
    other = ["data=folder", f"data.path={stretched / 'wide'}"] if is_named else []
    code, _, err = call("evaluate", str(stretched / "run"), *other, typed)
    assert code == 2
    assert f"{typed}: this run has learned inputs prepared with data.{trained}\n" in err


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["data=iris"], 2, "data=iris: there is no such option"),
        (["data=tabular"], 2, "examples of breast_cancer are 30"),
        (["data=diabetes"], 2, "this run has learned 1x8x8"),
        (["data.tests=3"], 2, "data.tests: there is no such key; did you mean test?"),
        (["data.test=all"], 2, "data.test"),
        (["data.augment.flip=true"], 2, "only training examples are augmented"),
        (["data.limit=9"], 2, "data.limit=9 has no effect: it limits training examples"),
        (["spilt=test"], 2, "did you mean split?"),
        (["split=all"], 2, "it has train, validation, test"),
        (["data.test=${oc.env:HOME}"], 2, "data"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_mistakes_are_named(words, code, said, call, real_root):
    result = call("evaluate", "mlp", *words, f"--root={real_root}")
    assert result[0] == code
    assert said in result[2]


OWN = """
from trainwright.data.dataset import Dataset
from trainwright.data.sources.digits import load_digits_dataset
from trainwright.nn.mlp import MLP


class Net(MLP):
    pass


def digits(**options) -> Dataset:
    return load_digits_dataset(**options)
"""


def test_a_class_of_ones_own_is_found_in_the_working_directory_when_trusted(
    call, train, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path, str(tmp_path)])
    (tmp_path / "mine_for_evaluate.py").write_text(OWN)
    own = "model._target_=mine_for_evaluate.Net"
    train(tmp_path / "own", "trainer=smoke", "model.widths=[8]", own)
    sys.modules.pop("mine_for_evaluate")
    monkeypatch.setattr(sys, "path", sys.path[:-1])  # as in a new process
    (tmp_path / "own").rename(tmp_path / "moved")
    code, _, err = call("evaluate", "moved", "resamples=0")
    assert code == 2
    assert "trust=[mine_for_evaluate.Net]" in err
    trusted = ("evaluate", "moved", "resamples=0", "trust=mine_for_evaluate.Net")
    assert call(*trusted)[0] == 0
    # What is typed needs no trust; and of what is trusted nothing goes unused.
    assert call(*trusted, "data._target_=mine_for_evaluate.digits")[0] == 0
    code, _, err = call(*trusted[:-1], "trust=mine_for_evaluate.Net,mine_for_evaluate.Nett")
    assert code == 2
    assert "mine_for_evaluate.Nett has no effect" in err
    assert "did you mean mine_for_evaluate.Net?" in err


COLUMNS = """
from dataclasses import replace

from trainwright.data.dataset import Dataset
from trainwright.data.examples import Arrays
from trainwright.data.sources.tabular import load_tabular


def named(table, names, splits):
    info = table.info.with_column("inputs", replace(table.info.input, names=names))
    return table.changed(info, splits)


def backwards(**options) -> Dataset:
    table = load_tabular(**options)
    splits = {
        name: Arrays({**split.columns, "inputs": split.columns["inputs"].flip(1)})
        for name, split in table.splits.items()
    }
    return named(table, table.info.feature_names[::-1], splits)


def renamed(**options) -> Dataset:
    table = load_tabular(**options)
    return named(table, (*table.info.feature_names[:-1], "prolin"), table.splits)
"""


def test_columns_of_other_data_are_found_by_name(call, train, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine_of_columns.py").write_text(COLUMNS)
    train(tmp_path / "wine", "trainer=smoke", "data=tabular", "data.name=wine", "model.widths=[8]")
    command = ("evaluate", "wine", "resamples=0", "--json")
    own, other = (
        json.loads(call(*command, *words)[1])["metrics"]
        for words in ((), ("data._target_=mine_of_columns.backwards",))
    )
    assert own == other
    code, _, err = call(*command, "data._target_=mine_of_columns.renamed")
    assert code == 2
    assert (
        "wine lacks the column proline, which this run has learned from; did you mean prolin?"
        in err
    )


def test_prints_tables_writes_pictures_where_asked_and_never_into_the_run(
    call, real_root, tmp_path
):
    folder = tmp_path / "copied"
    shutil.copytree(next(real_root.glob("*/*mlp*")), folder)
    before = {p: p.stat().st_mtime_ns for p in folder.rglob("*")}
    code, out, _ = call("evaluate", folder, f"out={tmp_path / 'found'}", "resamples=20")
    assert code == 0
    for heading in ("METRIC", "CLASS", "TRUE, AS", "Calibration: expected error"):
        assert heading in out
    names = sorted(p.name for p in (tmp_path / "found").iterdir())
    assert names == ["confusion.png", "evaluation.json", "reliability.png"]
    assert {p: p.stat().st_mtime_ns for p in folder.rglob("*")} == before


def test_groups_stand_in_the_table_and_add_up_to_the_split(call, tmp_path, train):
    rows = [f"{i % 7},{'ab'[i % 2]},{'yes' if i % 7 > 3 else 'no'}" for i in range(200)]
    (tmp_path / "rows.csv").write_text("\n".join(["x,site,y", *rows, ""]))
    data = ("data=table", f"data.path={tmp_path}/rows.csv", "data.target=y", "data.ignore=[site]")
    train(tmp_path / "run", *data, "data.baselines=false", "model=mlp", "trainer=smoke")
    code, out, err = call("evaluate", tmp_path / "run", "group=site", "resamples=20")
    assert code == 0, err
    assert "few examples (under 30) of a, b" in err
    assert "DEMOGRAPHIC PARITY" in out
    words = ("evaluate", tmp_path / "run", "group=site", "resamples=0", "--json")
    found = json.loads(call(*words)[1])
    told = found["by_group"]["groups"]
    assert sum(row["num_examples"] for row in told.values()) == found["num_examples"]
    total = sum(r["num_examples"] * r["metrics"]["accuracy"]["value"] for r in told.values())
    assert total / found["num_examples"] == pytest.approx(found["metrics"]["accuracy"]["value"])
    code, _, err = call("evaluate", tmp_path / "run", "group=sit")
    assert code == 3
    assert "no column sit" in err


def test_members_are_told_by_their_losses_as_scikit_learn_counts_it(measured, real_root):
    found = measured("mlp", "membership=true", "resamples=50")["metrics"]["membership"]
    trained = load_trained(next(real_root.glob("*/*mlp*/checkpoints/best.safetensors")))
    data = load_digits_dataset()
    with torch.no_grad():
        losses = [
            torch.cat([trained.task.evaluate(batch)["loss"] for batch in in_order(trained, split)])
            for split in (data.train, data.test)
        ]
    every = np.linspace(0, len(losses[0]), 180, endpoint=False).astype(int)
    members = losses[0][(torch.arange(180) * len(losses[0])) // 180]
    assert len(every) == len(members)
    truth = [1] * len(members) + [0] * len(losses[1])
    assert found["value"] == pytest.approx(roc_auc_score(truth, -torch.cat([members, losses[1]])))
    low, high = found["interval"]
    assert low < found["value"] < high


def test_what_a_task_does_not_know_is_refused_by_name(call, real_root):
    code, _, err = call("evaluate", "mlp", "likelihood=true", f"--root={real_root}")
    assert code == 2
    assert "does not know how likely examples are: it is a classifier" in err

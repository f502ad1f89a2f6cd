"""Losses that weigh classes, against scikit-learn's weights and the formulas by hand."""

import logging
import math

import numpy as np
import pytest
import torch
from sklearn.utils.class_weight import compute_class_weight

from trainwright.data.dataset import DataInfo
from trainwright.errors import ConfigError
from trainwright.tasks.classifier import Classifier

pytestmark = pytest.mark.numeric
TARGETS = torch.tensor([0] * 12 + [1] * 5 + [2] * 3)
INFO = DataInfo.of_one_input("three", (2,), "classes", ("a", "b", "c"), (0.0, 0.0), (1.0, 1.0))
BATCH = {
    "inputs": torch.tensor([[0.3, -2.0], [1.5, 0.2], [-0.7, 0.9], [4.0, 4.0]]),
    "targets": torch.tensor([0, 2, 1, 2]),
}


def classifier(**settings):
    torch.manual_seed(0)
    settings = {"train_targets": lambda: TARGETS, **settings}
    return Classifier(model=torch.nn.Linear(2, 3), info=INFO, **settings)


def by_hand(task, weights=(1, 1, 1), focal=0.0, smoothing=0.0):
    """The mean loss, in plain numbers."""
    total = 0.0
    logits = task.model(BATCH["inputs"]).tolist()
    for row, target in zip(logits, BATCH["targets"].tolist(), strict=True):
        shares = [math.exp(x) / sum(map(math.exp, row)) for x in row]
        plain = -math.log(shares[target])
        spread = -sum(map(math.log, shares)) / 3
        loss = (1 - smoothing) * plain + smoothing * spread
        total += weights[target] * (1 - shares[target]) ** focal * loss
    return total / len(logits)


def loss_of(task):
    return task("model", BATCH, {})[0].item()


@pytest.fixture
def batch_of_doubles(doubles, monkeypatch):
    monkeypatch.setitem(BATCH, "inputs", BATCH["inputs"].double())


def test_balanced_weights_are_those_of_scikit_learn():
    found = classifier(class_weights="balanced").class_weights
    expected = compute_class_weight("balanced", classes=np.arange(3), y=TARGETS.numpy())
    torch.testing.assert_close(found.double(), torch.from_numpy(expected), rtol=1e-6, atol=0)


def test_a_class_without_examples_leaves_the_others_as_they_are():
    some = TARGETS[TARGETS != 1]
    found = classifier(class_weights="balanced", train_targets=lambda: some).class_weights
    expected = compute_class_weight("balanced", classes=np.array([0, 2]), y=some.numpy())
    torch.testing.assert_close(found[[0, 2]].double(), torch.from_numpy(expected))


@pytest.mark.usefixtures("batch_of_doubles")
@pytest.mark.parametrize("focal", [0.0, 0.5, 2.0])
@pytest.mark.parametrize("weights", [None, [0.5, 1.0, 4.0]])
@pytest.mark.parametrize("smoothing", [0.0, 0.2])
def test_the_loss_is_the_mean_of_each_example_s_weighted_by_hand(focal, weights, smoothing):
    task = classifier(class_weights=weights, focal=focal, label_smoothing=smoothing)
    expected = by_hand(task, weights or (1, 1, 1), focal, smoothing)
    assert loss_of(task) == pytest.approx(expected, rel=1e-9)


@pytest.mark.usefixtures("batch_of_doubles")
def test_parts_of_a_batch_have_its_loss_as_their_mean():
    """As gradient accumulation needs it: no part is divided by weights of its own."""
    task = classifier(class_weights=[0.5, 1.0, 4.0])
    parts = [{name: column[i : i + 2] for name, column in BATCH.items()} for i in (0, 2)]
    halves = [task("model", part, {})[0].item() for part in parts]
    assert loss_of(task) == pytest.approx(sum(halves) / 2, rel=1e-12)


@pytest.mark.parametrize("focal", [0.5, 2.0])
def test_a_focal_loss_has_a_slope_where_an_example_is_certain(focal):
    task = classifier(focal=focal)
    with torch.no_grad():
        task.model.weight.mul_(1000)
    loss, _ = task("model", BATCH, {})
    loss.backward()
    assert task.model.weight.grad.isfinite().all()


def test_an_evaluation_weighs_nothing():
    plain, weighted = classifier(), classifier(class_weights="balanced", focal=2.0)
    for name, value in plain.evaluate(BATCH).items():
        torch.testing.assert_close(weighted.evaluate(BATCH)[name], value)
    assert plain.state_dict().keys() == weighted.state_dict().keys()


@pytest.mark.parametrize(
    ("key", "message"),
    [
        ("task.class_weights=[1,2,3]", "3 numbers, and there are 2 classes: malignant, benign"),
        ("task.class_weights=[1,-2]", "must be numbers from 0 on"),
        ("task.class_weights=[0,0]", "not all 0"),
        ("task.class_weights=evenly", "balanced"),
        ("task.focal=-1", "focal=-1.0 is below 0"),
    ],
)
def test_a_wrong_setting_is_refused_in_words(assembled, key, message):
    with pytest.raises(ConfigError, match=message):
        assembled("data=tabular", key)


def test_weights_are_found_anew_from_the_training_examples(assembled):
    task = assembled("data=tabular", "task.class_weights=balanced").state.task
    counts = torch.bincount(assembled("data=tabular").dataset.train.columns["targets"])
    torch.testing.assert_close(task.class_weights, counts.sum() / (2 * counts))
    assert task.describe() == "class weights malignant 1.34, benign 0.798"


def warnings_of(train, folder, caplog, *more):
    caplog.clear()
    with caplog.at_level(logging.WARNING):
        train(folder, "data=mine_uneven", "trainer=smoke", *more)
    return [r.getMessage() for r in caplog.records if r.name == "trainwright.run.announce"]


UNEVEN = """
import torch
from trainwright.data.dataset import Dataset
from trainwright.data.splits import split_arrays

def uneven(*, rare: int = 20) -> Dataset:
    classes = torch.tensor([0] * 400 + [1] * rare)
    return split_arrays("uneven", torch.randn(len(classes), 3), classes, class_names=["no", "yes"])
"""


@pytest.fixture
def uneven(tmp_path, monkeypatch):
    """A dataset of the user's own with 320 and 16 training examples."""
    (tmp_path / "mine_uneven.py").write_text(UNEVEN)
    (tmp_path / "configs" / "data").mkdir(parents=True)
    (tmp_path / "configs" / "data" / "mine_uneven.yaml").write_text(
        "# Two classes.\n_target_: mine_uneven.uneven\nrare: 20\nbalance: false\n"
    )
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)


@pytest.mark.usefixtures("uneven")
def test_classes_that_differ_ten_to_one_are_warned_of_until_something_is_done(
    train, tmp_path, caplog
):
    told = warnings_of(train, tmp_path / "as it is", caplog)
    assert told == [
        'classes differ in size: 320 training examples of "no", 16 of "yes"; accuracy can hide'
        " that rare ones are never found",
        "  what helps: task.class_weights=balanced, data.balance=true, task.focal=2",
    ]
    assert warnings_of(train, tmp_path / "nine to one", caplog, "data.rare=45") == []
    for number, key in enumerate(("task.class_weights=balanced", "data.balance=true",
                                  "task.focal=2")):  # fmt: skip
        assert warnings_of(train, tmp_path / str(number), caplog, key) == []

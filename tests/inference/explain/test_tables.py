"""Shapley values and permutation importance, against hand calculation and scikit-learn."""

import math
from itertools import permutations

import numpy as np
import pytest
import torch
from sklearn.base import BaseEstimator, RegressorMixin
from sklearn.inspection import permutation_importance as theirs
from torch import nn

from trainwright.data.columns import Categories, Classes, Numbers, Values
from trainwright.data.dataset import DataInfo
from trainwright.inference.explain import shapley
from trainwright.inference.explain.asked import Asked
from trainwright.inference.explain.importance import partial_dependence, permutation_importance
from trainwright.inference.explain.subjects import Features, Row
from trainwright.tasks.classifier import Classifier
from trainwright.tasks.regression import Regression

pytestmark = [pytest.mark.numeric, pytest.mark.usefixtures("doubles")]
CPU = torch.device("cpu")
MEAN, STD = (1.0, -2.0, 0.5), (2.0, 0.5, 3.0)


def linear(weights):
    """A regression that is linear in its three features: the task, and what it says."""
    network = nn.Linear(3, 1, bias=False)
    network.weight.data = torch.tensor([weights])
    columns = {"x": Numbers(MEAN, STD, ("a", "b", "c")), "y": Values((10.0,), (4.0,))}
    task = Regression(model=network, info=DataInfo("t", columns, ("x",), ("y",))).eval()
    return task, Asked(task, columns["y"])


def curved(num):
    """A classifier of so many features that mixes them, a row, and others to compare with."""
    torch.manual_seed(0)
    network = nn.Sequential(nn.Linear(num, 8), nn.Tanh(), nn.Linear(8, 3))
    columns = {"x": Numbers((0.0,) * num, (1.0,) * num), "y": Classes(("a", "b", "c"))}
    task = Classifier(model=network, info=DataInfo("t", columns, ("x",), ("y",))).eval()
    features = Features.of({"x": columns["x"]})
    row = Row(features, {"x": torch.randn(num)}, {"x": torch.randn(6, num)}, CPU)
    return row, Asked(task, columns["y"], 2)


def test_of_a_linear_model_each_feature_adds_its_weight_times_how_far_it_is_from_the_mean():
    _, asked = linear([3.0, -1.0, 0.0])
    torch.manual_seed(0)
    others, x = torch.randn(5, 3), torch.tensor([2.0, 1.0, -1.0])
    features = Features.of({"x": Numbers(MEAN, STD, ("a", "b", "c"))})
    row = Row(features, {"x": x}, {"x": others}, CPU)
    weights = torch.tensor([3.0, -1.0, 0.0]) * 4 / torch.tensor(STD)  # in the target's unit
    wanted = weights * (x - others.mean(0))
    torch.testing.assert_close(shapley.exact(row, asked), wanted)
    found, error = shapley.sampled(row, asked, samples=10, seed=0)
    torch.testing.assert_close(found, wanted)
    spread = (weights * others.std(0)).abs() / math.sqrt(5)  # all that is left to chance
    torch.testing.assert_close(error, spread)


def test_exact_values_are_the_mean_over_all_orders_in_which_features_can_come():
    row, asked = curved(4)
    said = {}

    def of(kept):
        if kept not in said:
            mask = torch.tensor([[i in kept for i in range(4)]])
            said[kept] = row.scores(asked, mask).item()
        return said[kept]

    wanted = np.zeros(4)
    for order in permutations(range(4)):
        for place, feature in enumerate(order):
            before = frozenset(order[:place])
            wanted[feature] += (of(before | {feature}) - of(before)) / 24
    np.testing.assert_allclose(shapley.exact(row, asked).numpy(), wanted, atol=1e-12)


def test_sampled_values_are_the_exact_ones_within_their_errors_and_always_sum_to_the_score():
    row, asked = curved(5)
    wanted = shapley.exact(row, asked)
    found, error = shapley.sampled(row, asked, samples=600, seed=0)
    assert (error > 0).all()
    assert ((found - wanted).abs() < 5 * error).all()
    nothing = row.scores(asked, torch.zeros(1, 5, dtype=torch.bool)).item()
    for values in (wanted, found):
        assert values.sum().item() == pytest.approx(row.score(asked) - nothing, abs=1e-12)


@pytest.fixture(scope="module")
def stored():
    """150 rows that a linear regression knows but for noise."""
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(150, 3, generator=generator, dtype=torch.float64)
    noise = torch.randn(150, generator=generator, dtype=torch.float64)
    return {"x": x, "y": 6 * x[:, 0] - 8 * x[:, 1] + 3 * noise}


class AsTheirs(RegressorMixin, BaseEstimator):
    """A task as scikit-learn has estimators."""

    def __init__(self, task):
        self.task = task

    def fit(self, x, y):
        return self

    def predict(self, x):
        column = self.task.columns["x"]
        batch = {"x": column.preparation(CPU)(torch.from_numpy(x))}
        return self.task.predict(batch)["y"].detach().numpy()


def test_permutation_importance_is_scikit_learns_and_lies_in_its_interval(stored):
    task, _ = linear([3.0, -1.0, 0.0])
    features = Features.of({"x": task.columns["x"]})
    value, found = permutation_importance(
        task, features, stored, repeats=100, resamples=300, seed=0, device=CPU
    )
    estimator, (x, y) = AsTheirs(task), (stored[name].numpy() for name in ("x", "y"))
    wanted = theirs(
        estimator, x, y, scoring="neg_mean_squared_error", n_repeats=100, random_state=0
    )
    assert value == pytest.approx(np.square(estimator.predict(x) - y).mean())
    for (mean, (low, high)), theirs_mean, std in zip(
        found, wanted.importances_mean, wanted.importances_std, strict=True
    ):
        # Either is a mean over 100 shuffles: their difference has sqrt(2 / 100) times one's spread.
        assert abs(mean - theirs_mean) <= 5 * std * math.sqrt(2 / 100) + 1e-9
        assert low <= mean <= high
    assert found[2][0] == pytest.approx(0, abs=1e-9)  # its weight is 0


def test_where_less_is_better_and_where_more_is_a_feature_that_counts_is_above_0(stored):
    torch.manual_seed(0)
    columns = {"x": Numbers((0.0,) * 3, (1.0,) * 3), "y": Classes(("a", "b"))}
    network = nn.Linear(3, 2, bias=False)
    network.weight.data = torch.tensor([[-5.0, 0.0, 0.0], [5.0, 0.0, 0.0]])
    task = Classifier(model=network, info=DataInfo("t", columns, ("x",), ("y",))).eval()
    rows = {"x": stored["x"], "y": (stored["x"][:, 0] > 0).long()}
    features = Features.of({"x": columns["x"]})
    value, found = permutation_importance(
        task, features, rows, repeats=5, resamples=0, seed=0, device=CPU
    )
    assert value == 1
    assert found[0][0] == pytest.approx(0.5, abs=0.15)  # five deviations of a coin's mean
    assert [f[0] for f in found[1:]] == [0, 0]
    assert found[0][1] is None


def test_partial_dependence_is_the_mean_answer_with_all_rows_alike_in_a_feature(stored):
    task, asked = linear([3.0, -1.0, 0.5])
    features = Features.of({"x": task.columns["x"]})
    texts, said = partial_dependence(asked, features, stored, 1, CPU)
    assert len(texts) == 11
    values = np.quantile(stored["x"][:, 1].numpy(), np.linspace(0, 1, 11), method="lower")
    estimator = AsTheirs(task)
    for value, answer in zip(values, said[:, 0].tolist(), strict=True):
        x = stored["x"].numpy().copy()
        x[:, 1] = value
        assert answer == pytest.approx(estimator.predict(x).mean())


def test_categories_are_features_by_name_with_a_point_of_the_curve_for_each():
    column = Categories(("pet", "sky"), (("cat", "dog", "owl"), ("blue", "grey")))
    features = Features.of({"n": Numbers((0.0,), (1.0,), ("age",)), "c": column})
    assert features.names == ["age", "pet", "sky"]
    stored = {"n": torch.tensor([[3.0]]), "c": torch.tensor([[2, 1]])}
    one = {name: values[0] for name, values in stored.items()}
    assert [features.text(i, one) for i in range(3)] == ["3", "owl", "grey"]
    moved = features.where(1, {"n": torch.tensor([[9.0]]), "c": torch.tensor([[0, 0]])}, stored)
    assert (moved["n"].tolist(), moved["c"].tolist()) == ([[3.0]], [[0, 1]])

"""The metrics, each against scikit-learn or SciPy, or against a case with a known answer."""

import numpy as np
import pytest
import torch
from scipy.stats import wasserstein_distance
from sklearn import metrics as reference

from trainwright.tasks.metrics.classification import ClassificationMetrics
from trainwright.tasks.metrics.formulas import (
    confusion_matrix,
    per_class_metrics,
    regression_metrics,
    sliced_wasserstein,
)

pytestmark = [pytest.mark.numeric, pytest.mark.usefixtures("doubles")]


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def random_case(num_classes, *, num=400, never_true=None, never_predicted=None, seed=0):
    generator = seeded(seed)
    logits = torch.randn(num, num_classes, generator=generator)
    targets = torch.randint(num_classes, (num,), generator=generator)
    logits[torch.arange(num), targets] += 1.0
    if never_true is not None:
        targets[targets == never_true] = (never_true + 1) % num_classes
    if never_predicted is not None:
        logits[:, never_predicted] = -9.0
    loss = torch.nn.functional.cross_entropy(logits, targets, reduction="none")
    return loss, logits, targets


def classification_metrics(loss, logits, targets):
    metric = ClassificationMetrics("label", range(logits.shape[1]), top_k=5)
    metric.update({"label": targets}, {"loss": loss, "logits": logits})
    return metric.compute()


def test_two_that_saw_a_part_each_are_together_as_one_that_saw_all():
    loss, logits, targets = random_case(5)
    first, second = (ClassificationMetrics("label", range(5), top_k=2) for _ in range(2))
    whole = ClassificationMetrics("label", range(5), top_k=2)
    for metric, part in ((first, slice(150)), (second, slice(150, None)), (whole, slice(None))):
        metric.update({"label": targets[part]}, {"loss": loss[part], "logits": logits[part]})
    first.merge(second)
    assert first.num_examples == whole.num_examples == 400
    assert first.compute() == whole.compute()  # the same examples in the same order
    assert first.by_class().confusion.equal(whole.by_class().confusion)


@pytest.mark.parametrize(
    ("num_classes", "never_true", "never_predicted"),
    [
        (10, None, None),
        (10, 3, None),
        (10, None, 7),
        (10, 3, 7),
        (10, 3, 3),
        (2, None, 1),
        (3, 0, 0),
    ],
)
def test_classification_metrics_equal_scikit_learns(num_classes, never_true, never_predicted):
    loss, logits, targets = random_case(
        num_classes, never_true=never_true, never_predicted=never_predicted
    )
    ours = classification_metrics(loss, logits, targets)
    predicted = logits.argmax(dim=1)
    precision, recall, f1, _ = reference.precision_recall_fscore_support(
        targets, predicted, average="macro", zero_division=0
    )
    expected = {
        "loss": reference.log_loss(
            targets, logits.double().softmax(dim=1), labels=range(num_classes)
        ),
        "accuracy": reference.accuracy_score(targets, predicted),
        "precision": precision,
        "recall": recall,
        "f1": f1,
    }
    if num_classes > 5:
        expected["top5_accuracy"] = reference.top_k_accuracy_score(
            targets, logits, k=5, labels=range(num_classes)
        )
    assert ours == pytest.approx(expected)
    assert all(type(value) is float for value in ours.values())


@pytest.mark.parametrize(("num_classes", "has_top5"), [(2, False), (5, False), (6, True)])
def test_top5_accuracy_is_there_only_with_more_than_five_classes(num_classes, has_top5):
    assert ("top5_accuracy" in classification_metrics(*random_case(num_classes))) == has_top5


def test_bfloat16_logits_give_the_same_decisions_as_their_float32_values():
    loss, logits, targets = random_case(10)
    rounded = logits.bfloat16()
    assert classification_metrics(loss, rounded, targets) == classification_metrics(
        loss, rounded.float(), targets
    )


def test_rows_of_the_confusion_matrix_are_the_truth():
    _, logits, targets = random_case(7, never_true=2)
    predicted = logits.argmax(dim=1)
    ours = confusion_matrix(predicted, targets, 7)
    assert ours.dtype == torch.int64
    assert (ours.numpy() == reference.confusion_matrix(targets, predicted, labels=range(7))).all()


def test_per_class_metrics_equal_scikit_learns():
    _, logits, targets = random_case(8, never_true=1, never_predicted=4)
    predicted = logits.argmax(dim=1)
    ours = per_class_metrics(confusion_matrix(predicted, targets, 8))
    theirs = reference.precision_recall_fscore_support(
        targets, predicted, labels=range(8), zero_division=0
    )
    for name, values in zip(("precision", "recall", "f1", "support"), theirs, strict=True):
        assert ours[name] == pytest.approx(values.tolist())


@pytest.mark.parametrize("bad", [-1, 3])
def test_a_class_out_of_range_is_refused(bad):
    with pytest.raises(ValueError, match=r"classes in 0\.\.2"):
        confusion_matrix(torch.tensor([0, 1, 2]), torch.tensor([0, 1, bad]), 3)


def test_an_empty_split_is_refused():
    nothing = torch.zeros(0)
    with pytest.raises(ValueError, match="empty"):
        regression_metrics(nothing, nothing)
    with pytest.raises(ValueError, match="empty"):
        sliced_wasserstein(nothing, torch.zeros(3), generator=seeded())


def test_regression_metrics_equal_scikit_learns():
    # Far from zero, where float32 sums would lose the variation.
    targets = 1e4 + torch.randn(500, generator=seeded())
    predictions = targets + 0.3 * torch.randn(500, generator=seeded(1))
    truth, guess = targets.double(), predictions.double()
    assert regression_metrics(predictions, targets) == pytest.approx(
        {
            "mse": reference.mean_squared_error(truth, guess),
            "mae": reference.mean_absolute_error(truth, guess),
            "r2": reference.r2_score(truth, guess),
        },
        rel=1e-9,
    )


@pytest.mark.parametrize(("offset", "r2"), [(0.0, 1.0), (1.0, 0.0)])
def test_r2_of_constant_targets_is_scikit_learns(offset, r2):
    targets = torch.full((7,), 2.0)
    assert regression_metrics(targets + offset, targets)["r2"] == r2
    assert reference.r2_score(targets, targets + offset) == r2


def test_r2_of_constant_targets_survives_rounding():
    targets = torch.full((7,), 0.1)  # their mean in float64 is another number: scikit-learn: -2e16
    assert regression_metrics(targets + 1, targets)["r2"] == 0


def test_predictions_that_would_broadcast_are_refused():
    with pytest.raises(ValueError, match=r"\(4, 1\) and \(4,\)"):
        regression_metrics(torch.zeros(4, 1), torch.zeros(4))


@pytest.mark.parametrize(("num_samples", "num_real"), [(50, 50), (30, 47), (64, 16), (1, 9)])
def test_in_one_dimension_it_is_the_wasserstein_distance(num_samples, num_real):
    samples = torch.randn(num_samples, generator=seeded(1))
    real = 2 + 3 * torch.randn(num_real, generator=seeded(2))
    expected = wasserstein_distance(samples.numpy(), real.numpy())
    for shape in ((-1,), (-1, 1), (-1, 1, 1, 1)):
        ours = sliced_wasserstein(
            samples.view(shape), real.view(shape), num_projections=3, generator=seeded()
        )
        assert ours == pytest.approx(expected)


def test_in_many_dimensions_it_is_the_mean_over_projections_of_scipys():
    samples = torch.randn(20, 2, 3, generator=seeded(1))
    real = 0.5 + torch.randn(33, 2, 3, generator=seeded(2))
    directions = torch.randn(6, 8, generator=seeded(3)).numpy()
    directions /= np.linalg.norm(directions, axis=0)
    expected = np.mean(
        [
            wasserstein_distance(samples.flatten(1).numpy() @ way, real.flatten(1).numpy() @ way)
            for way in directions.T
        ]
    )
    ours = sliced_wasserstein(samples, real, num_projections=8, generator=seeded(3))
    assert ours == pytest.approx(expected)


def test_a_set_is_no_distance_from_itself_in_any_order_or_repeated():
    real = torch.rand(40, 1, 4, 4, generator=seeded())
    shuffled = real[torch.randperm(40, generator=seeded())]
    assert sliced_wasserstein(real, real, generator=seeded()) == 0
    assert sliced_wasserstein(shuffled, real, generator=seeded()) == pytest.approx(0, abs=1e-12)
    assert sliced_wasserstein(real.repeat(3, 1, 1, 1), real, generator=seeded()) == pytest.approx(
        0, abs=1e-12
    )


def test_a_shifted_set_is_the_mean_projection_of_the_shift_away():
    real = torch.rand(40, 5, generator=seeded())
    shift = torch.tensor([1.0, -2.0, 0.5, 0.0, 3.0])
    directions = torch.nn.functional.normalize(torch.randn(5, 128, generator=seeded(4)), dim=0)
    expected = (shift @ directions).abs().mean().item()
    ours = sliced_wasserstein(real + shift, real, generator=seeded(4))
    assert ours == pytest.approx(expected)
    assert sliced_wasserstein(real + 2 * shift, real, generator=seeded(4)) > ours


def test_its_value_depends_on_the_generator_alone():
    samples, real = torch.rand(9, 6), torch.rand(9, 6)
    torch.manual_seed(1)
    first = sliced_wasserstein(samples, real, generator=seeded(5))
    after_one = torch.rand(1)
    torch.manual_seed(1)
    assert torch.rand(1) == after_one  # the global generator was left alone
    assert sliced_wasserstein(samples, real, generator=seeded(5)) == first
    assert sliced_wasserstein(samples, real, generator=seeded(6)) != first


def test_examples_of_different_shapes_are_refused():
    with pytest.raises(ValueError, match="one shape"):
        sliced_wasserstein(torch.rand(4, 2, 3), torch.rand(4, 3, 2), generator=seeded())

"""How good predictions and samples are: plain functions from tensors to numbers.

All of them are meant for a whole split at once, since precision, F1 and R2 of a split are not the
mean of those of its batches. They return Python floats, so they wait for the device: call them
when evaluating, not in the training loop.
"""

from collections.abc import Mapping

import torch
from torch import Tensor


def metrics_of_predictions(
    loss: Tensor,
    predicted: Tensor,
    targets: Tensor,
    *,
    num_classes: int,
    hits: Mapping[str, Tensor],
) -> dict[str, float]:
    """Return mean loss, accuracy, and macro precision, recall and F1 of a split.

    `loss`, `predicted` and `targets` are (N,), classes in 0..C-1; `hits`: other shares of right
    answers, (N,) bool. The macro means run over the classes that occur among targets or
    predictions, and 0/0 counts as 0: scikit-learn's
    `precision_recall_fscore_support(average="macro", zero_division=0)`.
    """
    metrics = {"loss": loss.detach().cpu().double().mean().item()}
    for name, hit in {"accuracy": predicted == targets, **hits}.items():
        metrics[name] = hit.cpu().double().mean().item()
    confusion = confusion_matrix(predicted, targets, num_classes)
    occurs = (confusion.sum(dim=0) + confusion.sum(dim=1) > 0).tolist()
    for name, values in per_class_metrics(confusion).items():
        if name != "support":
            metrics[name] = sum(values) / sum(occurs)  # a class that never occurs adds 0
    return metrics


def roc_area(positive: Tensor, negative: Tensor) -> float:
    """How often one of `positive` (N,) is larger than one of `negative` (M,); equal counts half.

    The area under the receiver operating characteristic, for all thresholds at once (Mann and
    Whitney 1947; Hanley and McNeil 1982): 1/2 is guessing.
    """
    ordered, asked = negative.double().sort().values, positive.double()
    below = torch.searchsorted(ordered, asked)  # (N,): so many others have less
    at_most = torch.searchsorted(ordered, asked, right=True)
    return float((below + at_most).double().mean() / (2 * len(ordered)))


def label_metrics(loss: Tensor, probabilities: Tensor, labels: Tensor) -> dict[str, float]:
    """Of any number of classes at once: loss, shares of right answers, F1, average precision.

    `loss` is (N,), `probabilities` and `labels` (N, C), a class taken from 1/2 on. `accuracy` is
    the share of examples of which every label is right, `label_accuracy` that of single labels.
    `f1_micro` counts all labels alike and `f1` is the mean over the classes, 0/0 being 0.
    `average_precision` is the mean over the classes that occur (scikit-learn's definition).
    """
    truth, taken = labels.cpu().bool(), probabilities.cpu() >= 0.5
    right = truth == taken
    both = (truth & taken).sum(dim=0).double()  # (C,)
    either = truth.sum(dim=0).double() + taken.sum(dim=0).double()
    return {
        "loss": loss.cpu().double().mean().item(),
        "accuracy": right.all(dim=1).double().mean().item(),
        "label_accuracy": right.double().mean().item(),
        "f1": float(_ratio(2 * both, either).mean()),
        "f1_micro": float(_ratio(2 * both.sum(), either.sum())),
        "average_precision": _average_precision(probabilities.cpu().double(), truth),
    }


def _average_precision(scores: Tensor, truth: Tensor) -> float:
    """The mean over classes of sum (recall step x precision); equal scores make one step."""
    found = []
    for score, true in zip(scores.T, truth.T, strict=True):
        if not true.any():
            continue
        order = score.argsort(descending=True, stable=True)
        hits = true[order].double().cumsum(0)
        last = torch.cat([score[order].diff() != 0, torch.tensor([True])])  # of equal scores
        ranks = torch.arange(1, len(score) + 1, dtype=torch.float64)
        recall = torch.cat([torch.zeros(1, dtype=torch.float64), hits[last] / hits[-1]])
        found.append(float((recall.diff() * hits[last] / ranks[last]).sum()))
    return sum(found) / len(found) if found else 0.0


def confusion_matrix(predicted: Tensor, targets: Tensor, num_classes: int) -> Tensor:
    """Count how often each class was taken for each: (C, C) int64 on the CPU, rows are the truth.

    `predicted` and `targets` are (N,) integers in 0..C-1. Raises ValueError for other values.
    """
    if predicted.shape != targets.shape or targets.ndim != 1:
        raise ValueError(
            "expected predicted (N,) and targets (N,), got "
            f"{tuple(predicted.shape)} and {tuple(targets.shape)}"
        )
    pairs = torch.stack([targets, predicted]).cpu().long()  # (2, N)
    if pairs.numel() and not 0 <= int(pairs.min()) <= int(pairs.max()) < num_classes:
        raise ValueError(
            f"expected classes in 0..{num_classes - 1}, got {int(pairs.min())}..{int(pairs.max())}"
        )
    cells = pairs[0] * num_classes + pairs[1]  # (N,)
    return torch.bincount(cells, minlength=num_classes**2).view(num_classes, num_classes)


def per_class_metrics(confusion: Tensor) -> dict[str, list[float]]:
    """Return precision, recall, F1 and support of each class, C numbers each; 0/0 counts as 0.

    `confusion` is (C, C) counts, rows are the truth. Support is the number of true examples.
    """
    counts = confusion.cpu().double()  # (C, C)
    correct = counts.diagonal()  # (C,)
    predicted, support = counts.sum(dim=0), counts.sum(dim=1)  # (C,), (C,)
    return {
        "precision": _ratio(correct, predicted).tolist(),
        "recall": _ratio(correct, support).tolist(),
        # 2 TP / (2 TP + FP + FN) is the harmonic mean of the two, without dividing 0 by 0 twice
        "f1": _ratio(2 * correct, predicted + support).tolist(),
        "support": support.tolist(),
    }


def regression_metrics(predictions: Tensor, targets: Tensor) -> dict[str, float]:
    """Return mean squared error, mean absolute error and R2, computed in float64.

    `predictions` and `targets` are (N,). `mae` has their unit and `mse` the square of it. R2 is
    1 - sum of squared errors / sum of squared deviations of the targets from their mean. Where
    all targets are equal it is 1 for perfect predictions and 0 for others, as in scikit-learn.
    Raises ValueError for an empty split or shapes that differ.
    """
    # (N, 1) against (N,) would broadcast to (N, N) and give a plausible, wrong number.
    if predictions.shape != targets.shape or targets.ndim != 1:
        raise ValueError(
            "expected predictions (N,) and targets (N,), got "
            f"{tuple(predictions.shape)} and {tuple(targets.shape)}"
        )
    _require_examples(len(targets))
    truth = targets.detach().cpu().double()
    errors = predictions.detach().cpu().double() - truth
    squared_error = errors.square().sum().item()
    if (truth == truth[0]).all():  # not "variation is 0": the mean of equal numbers may be rounded
        r2 = float(squared_error == 0)
    else:
        r2 = 1 - squared_error / (truth - truth.mean()).square().sum().item()
    return {
        "mse": squared_error / len(targets),
        "mae": errors.abs().mean().item(),
        "r2": r2,
    }


@torch.no_grad()
def sliced_wasserstein(
    samples: Tensor, real: Tensor, *, num_projections: int = 128, generator: torch.Generator
) -> float:
    """Return the sliced 1-Wasserstein distance between two sets of examples, in their unit.

    `samples` is (N, ...) and `real` is (M, ...) with the same trailing shape, on one device. Both
    are flattened to (N, D) and (M, D) and projected on `num_projections` random unit vectors; the
    distances between the projected sets, which are exact, are averaged. 0 for equal sets. Compare
    only values with the same N and M: for small sets it has a positive floor.

    The projections depend on `generator` alone, whatever device the examples are on.
    Rabin, Peyre, Delon and Bernot 2012, "Wasserstein barycenter and its application to texture
    mixing"; Karras et al. 2018, arXiv:1710.10196, use it on GANs. Raises ValueError for an empty
    set or examples of different shapes.
    """
    if samples.shape[1:] != real.shape[1:]:
        raise ValueError(
            "expected examples of one shape, got "
            f"{tuple(samples.shape[1:])} and {tuple(real.shape[1:])}"
        )
    _require_examples(min(len(samples), len(real)))
    flat_samples = samples.flatten(1).float() if samples.ndim > 1 else samples[:, None].float()
    flat_real = real.flatten(1).float() if real.ndim > 1 else real[:, None].float()

    directions = torch.randn(
        flat_real.shape[1], num_projections, generator=generator, device=generator.device
    )
    directions = (directions / directions.norm(dim=0)).to(flat_real.device)  # (D, P) unit columns
    sorted_samples = (flat_samples @ directions).sort(dim=0).values  # (N, P)
    sorted_real = (flat_real @ directions).sort(dim=0).values  # (M, P)

    sample_rows, real_rows, widths = _quantile_steps(len(samples), len(real))
    device = flat_real.device
    gaps = (sorted_samples[sample_rows.to(device)] - sorted_real[real_rows.to(device)]).abs()
    return float((gaps.mean(dim=1) * widths.to(device)).sum())


def _quantile_steps(num_first: int, num_second: int) -> tuple[Tensor, Tensor, Tensor]:
    """Return where two empirical quantile functions are constant together: K <= N + M - 1 steps.

    The first jumps at multiples of 1/N, the second at multiples of 1/M. For each step: the row in
    the first sorted set (K,), the row in the second (K,), and the step's width (K,), which sum to
    1. Levels are counted in units of 1/(N M), so that no rounding can shift a row.
    """
    jumps_first = torch.arange(num_first + 1) * num_second
    jumps_second = torch.arange(num_second + 1) * num_first
    levels = torch.cat([jumps_first, jumps_second]).sort().values  # (N + M + 2,), from 0 to N M
    levels = levels[levels.diff(prepend=levels.new_tensor([-1])) > 0]  # (K + 1,)
    starts, widths = levels[:-1], levels.diff()
    share = widths.double() / (num_first * num_second)
    return starts // num_second, starts // num_first, share.float()


def _ratio(numerator: Tensor, denominator: Tensor) -> Tensor:
    """Divide elementwise, taking 0/0 as 0."""
    return numerator / denominator.clamp(
        min=1
    )  # these are counts: below 1 is 0, and so is what is over it


def _require_examples(num_examples: int) -> None:
    if num_examples == 0:
        raise ValueError("no examples to measure: the split is empty")

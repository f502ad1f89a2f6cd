"""How good a classifier is, from batches: one class for each example, or any number of them."""

from collections.abc import Sequence

from torch import Tensor

from trainwright.data.examples import Batch
from trainwright.tasks.metrics.calibration import brier_scores, reliability
from trainwright.tasks.metrics.formulas import (
    confusion_matrix,
    label_metrics,
    metrics_of_predictions,
)
from trainwright.tasks.metrics.metric import Answers, ByClass, Gathered


class ClassificationMetrics(Gathered):
    """Loss, accuracy, top-k accuracy and macro precision, recall and F1; and what it is sure of.

    Takes `logits` (B, C) and `loss` (B,) of the answers, and the classes (B,) that are true.
    """

    def __init__(self, target: str, class_names: Sequence[str], *, top_k: int) -> None:
        super().__init__()
        self._target, self._names, self._top_k = target, tuple(class_names), top_k

    def update(self, batch: Batch, answers: Answers) -> None:
        """Keep of each example its loss, the class taken for it, how surely, and the true one."""
        logits, targets = answers["logits"].float(), batch[self._target]
        probabilities = logits.softmax(dim=1)
        confidence, predicted = probabilities.max(dim=1)
        kept = {
            "loss": answers["loss"],
            "predicted": predicted,
            "targets": targets,
            "confidence": confidence,
            "brier": brier_scores(probabilities, targets),
        }
        if len(self._names) > self._top_k:
            best = logits.topk(self._top_k, dim=1).indices  # (B, k)
            kept["hit"] = (best == targets[:, None]).any(dim=1)
        self.keep(kept)

    def of(self, values: dict[str, Tensor]) -> dict[str, float]:
        """The numbers of these examples."""
        return metrics_of_predictions(
            values["loss"],
            values["predicted"],
            values["targets"],
            num_classes=len(self._names),
            hits={} if "hit" not in values else {f"top{self._top_k}_accuracy": values["hit"]},
        )

    @property
    def predicted(self) -> Tensor:
        """The class taken for each example (N,), in the order of the split."""
        return self.values["predicted"]

    @property
    def targets(self) -> Tensor:
        """The true classes (N,)."""
        return self.values["targets"]

    def by_class(self, indices: Tensor | None = None) -> ByClass:
        """The confusion of classes, and how often it is right where it is how sure."""
        values = self.values
        if indices is not None:
            values = {name: value[indices] for name, value in values.items()}
        correct = values["predicted"] == values["targets"]
        return ByClass(
            names=self._names,
            confusion=confusion_matrix(values["predicted"], values["targets"], len(self._names)),
            bins=reliability(values["confidence"], correct),
            brier=float(values["brier"].double().mean()),
        )


class LabelMetrics(Gathered):
    """Of any number of classes at once: how often all are right, each is, and F1 of them.

    Takes `probabilities` (B, C) and `loss` (B,) of the answers, and labels (B, C) of 0 and 1.
    """

    def __init__(self, target: str) -> None:
        super().__init__()
        self._target = target

    def update(self, batch: Batch, answers: Answers) -> None:
        """Keep loss, probabilities and labels of each example."""
        kept = {name: answers[name] for name in ("loss", "probabilities")}
        self.keep({**kept, "labels": batch[self._target]})

    def of(self, values: dict[str, Tensor]) -> dict[str, float]:
        """The numbers of these examples."""
        return label_metrics(values["loss"], values["probabilities"], values["labels"])

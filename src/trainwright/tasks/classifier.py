"""Classification: one of `num_classes` for each example; two classes are no special case."""

from collections.abc import Callable
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from trainwright.data.columns import Classes
from trainwright.data.dataset import DataInfo
from trainwright.data.examples import Batch, all_of
from trainwright.nn.views import TestTimeAugmentation, check_views, mean_over_views
from trainwright.report.plots.grid import save_image
from trainwright.report.plots.predictions import prediction_grid
from trainwright.tasks.metrics.classification import ClassificationMetrics
from trainwright.tasks.metrics.formulas import per_class_metrics
from trainwright.tasks.metrics.metric import Answers
from trainwright.tasks.one_network import OneNetwork
from trainwright.tasks.ports import Port, Predictor
from trainwright.tasks.task import Carry, Ending, Objective
from trainwright.tasks.weights import class_weights_of, shown
from trainwright.wording import printable

NUM_PREDICTIONS = 64  # examples in the grid of predictions
SMALLEST_MISS = 1e-6  # at 0 the slope of a power below 1 would be infinite
WHERE = (
    "inside model.pt2 and model.onnx, whose logits are the mean over the views; "
    "for model.safetensors views.py has them"
)
WHERE_DIVIDED = (
    "logits are divided by it inside model.pt2 and model.onnx, and have yet to be after "
    "model.safetensors"
)


class Classifier(OneNetwork):
    """Learns classes by cross-entropy, with `label_smoothing` where asked (Szegedy et al. 2016).

    `class_weights`: by what the loss of an example is multiplied; balanced: such that each class
    weighs as much as every other over the training examples. `focal`: less of the loss of what is
    told apart already (Lin et al. 2017). An evaluation knows neither.
    `top_k`: also report how often the true class is among the k likeliest. `tta`: what is said of
    an image, once it is trained, is the mean over these views of it.
    """

    objective: Objective = Objective("accuracy", higher_is_better=True)
    is_one_loss = True
    takes_mixed: ClassVar[bool] = True
    learns: ClassVar[str] = "classes"
    stackable_numbers = ("label_smoothing",)

    def __init__(
        self,
        *,
        model: nn.Module,
        info: DataInfo,
        train_targets: Callable[[], Tensor] | None = None,
        label_smoothing: float = 0.0,
        class_weights: Literal["balanced"] | list[float] | None = None,
        focal: float = 0.0,
        top_k: int = 5,
        tta: TestTimeAugmentation = "none",
    ) -> None:
        super().__init__(model, info)
        if info.num_classes == 1:
            raise ValueError(
                f"task=classifier needs classes to tell apart, and {info.name} has only one: "
                + printable(info.class_names[0])
            )
        if not 0 <= label_smoothing < 1:
            raise ValueError(f"label_smoothing={label_smoothing} is not in 0 <= value < 1")
        if top_k < 1:
            raise ValueError(f"top_k={top_k} is below 1")
        if not focal >= 0:
            raise ValueError(f"focal={focal} is below 0")
        self.label_smoothing = label_smoothing
        self.focal = focal
        weights = class_weights_of(class_weights, self._names, train_targets)
        self.class_weights: Tensor | None
        self.register_buffer("class_weights", weights, persistent=False)
        self.is_one_loss = weights is None and focal == 0
        self.top_k = top_k
        self.take_views(tta)
        self.temperature = 1.0

    def take_temperature(self, temperature: float) -> None:
        """Divide what is said by it from now on; training does not know it."""
        self.temperature = temperature

    def take_views(self, tta: TestTimeAugmentation) -> None:
        """Say the mean over these views of each image from now on. Raises ValueError."""
        check_views(tta, self.columns[self.inputs[0]].shape if len(self.inputs) == 1 else ())
        self.tta = tta

    def forward(self, player: str, batch: Batch, carry: Carry) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the mean loss of the batch, and which examples it gets right (B,).

        Targets are classes (B,), or where examples were mixed, shares of classes (B, classes).
        """
        logits, targets = self.answer(batch), batch[self.target]  # (B, classes), (B,)
        if self.is_one_loss:
            loss = functional.cross_entropy(logits, targets, label_smoothing=self.label_smoothing)
        else:
            loss = self._weighted(logits, targets).mean()
        likeliest = targets.argmax(dim=-1) if targets.is_floating_point() else targets
        correct = logits.detach().argmax(dim=-1) == likeliest
        return loss, {"loss": loss.detach(), "accuracy": correct.float()}

    def _weighted(self, logits: Tensor, targets: Tensor) -> Tensor:
        """The loss of each example, (B,), by its class and by how well it is told apart."""
        losses = functional.cross_entropy(
            logits, targets, reduction="none", label_smoothing=self.label_smoothing
        )
        if self.focal:
            plain = functional.cross_entropy(logits, targets, reduction="none")  # -log p
            missing = -torch.expm1(-plain)  # 1 - p
            losses = losses * missing.clamp(min=SMALLEST_MISS) ** self.focal
        if self.class_weights is not None:
            is_mixed = targets.is_floating_point()
            weights = targets @ self.class_weights if is_mixed else self.class_weights[targets]
            losses = losses * weights
        return losses

    def describe(self) -> str:
        """The weights of the classes, where they were found."""
        return "" if self.class_weights is None else shown(self.class_weights, self._names)

    def logits(self, batch: Batch) -> Tensor:
        """Logits (B, classes) float32, over the views that `tta` names, calibrated if it is."""
        if self.tta == "none":
            logits = self.answer(batch)
        else:
            logits = mean_over_views(self.model, batch[self.inputs[0]], self.tta)
        return logits if self.temperature == 1 else logits / self.temperature

    def predict(self, batch: Batch) -> dict[str, Tensor]:
        """The probabilities of the classes (B, classes)."""
        return {self.target: self.logits(batch).softmax(dim=1)}

    def outputs(self, batch: Batch) -> Tensor:
        """Logits (B, classes)."""
        return self.logits(batch)

    def answers(self, outputs: Tensor, batch: Batch) -> Answers:
        """Cross-entropy without smoothing (B,), and logits (B, classes)."""
        loss = functional.cross_entropy(outputs, batch[self.target], reduction="none")
        return {"loss": loss, "logits": outputs}

    def metrics(self) -> ClassificationMetrics:
        """Loss, accuracy, top-k accuracy, and macro precision, recall and F1."""
        return ClassificationMetrics(self.target, self._names, top_k=self.top_k)

    @property
    def _names(self) -> tuple[str, ...]:
        column = self.columns[self.target]
        assert isinstance(column, Classes)
        return column.names

    def portable(self) -> Predictor:
        """Raw inputs in, logits out."""
        output = Port("logits", (len(self._names),), torch.float32, "softmax of it: probabilities")
        facts: dict[str, Any] = (
            {} if self.tta == "none" else {"tta": {"views": self.tta, "where": WHERE}}
        )
        if self.temperature != 1:
            facts["calibration"] = {"temperature": self.temperature, "where": WHERE_DIVIDED}
        return self.predictor(output, does="classifier", answer=self.outputs, facts=facts)

    def finish(self, ending: Ending) -> dict[str, Any]:
        """The confusion of classes, drawn too; and, of images, a grid of predictions."""
        metric = ending.metric
        assert isinstance(metric, ClassificationMetrics)
        confusion = metric.by_class().confusion
        if ending.drawing is not None:
            path = str(ending.plots / "confusion.png")
            ending.drawing.plot("plot_confusion", confusion.tolist(), self._names, path)
            if ending.dataset.info.is_image:
                self._draw_predictions(metric, ending)
        return {"confusion": confusion.tolist(), "per_class": per_class_metrics(confusion)}

    def _draw_predictions(self, metric: ClassificationMetrics, ending: Ending) -> None:
        predicted, targets = metric.predicted, metric.targets
        shown = _worth_showing(predicted == targets)
        grid = prediction_grid(
            all_of(ending.dataset.test, self.inputs[0], shown),
            [self._names[i] for i in predicted[shown].tolist()],
            [self._names[i] for i in targets[shown].tolist()],
            (predicted == targets)[shown].tolist(),
        )
        save_image(grid, ending.plots / "predictions.png")


def _worth_showing(correct: Tensor) -> Tensor:
    """Indices (n,) of test examples for the grid: errors for up to half of it, then others.

    Both from all over the split, which may be sorted by its classes.
    """
    wrong = _spread(torch.nonzero(~correct).flatten(), NUM_PREDICTIONS // 2)
    right = _spread(torch.nonzero(correct).flatten(), NUM_PREDICTIONS - len(wrong))
    return torch.cat([wrong, right])


def _spread(indices: Tensor, most: int) -> Tensor:
    num = min(len(indices), most)
    return indices[torch.arange(num) * len(indices) // max(num, 1)]

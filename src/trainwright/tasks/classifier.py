"""Classification: one of `num_classes` for each example; two classes are no special case."""

from collections.abc import Mapping
from typing import ClassVar

from torch import Tensor, nn
from torch.nn import functional

from trainwright.data.batches import Batch, Normalisation
from trainwright.data.dataset import DataInfo
from trainwright.nn.gan import GAN
from trainwright.tasks.metrics import classification_metrics
from trainwright.tasks.task import Handed, Objective, Task
from trainwright.tasks.views import TestTimeAugmentation, check_views, mean_over_views
from trainwright.wording import printable


class Classifier(Task):
    """Learns classes by cross-entropy, with `label_smoothing` where asked (Szegedy et al. 2016).

    `top_k`: also report how often the true class is among the k likeliest. `tta`: what is said of
    an image, once it is trained, is the mean over these views of it.
    """

    objective: Objective = Objective("accuracy", higher_is_better=True)
    is_one_loss: ClassVar[bool] = True
    stackable_numbers = ("label_smoothing",)

    def __init__(
        self,
        *,
        model: nn.Module,
        info: DataInfo,
        label_smoothing: float = 0.0,
        top_k: int = 5,
        tta: TestTimeAugmentation = "none",
    ) -> None:
        super().__init__()
        if info.target != "classes":
            raise ValueError(
                f"task=classifier needs classes to learn, and {info.name} has none; "
                + ("use task=regression" if info.target == "values" else "use model=gan")
            )
        if info.num_classes == 1:
            raise ValueError(
                f"task=classifier needs classes to tell apart, and {info.name} has but one: "
                + printable(info.class_names[0])
            )
        if isinstance(model, GAN):
            raise ValueError("task=classifier needs a model with one player, not two: use task=gan")
        if not 0 <= label_smoothing < 1:
            raise ValueError(f"label_smoothing={label_smoothing} is not in 0 <= value < 1")
        if top_k < 1:
            raise ValueError(f"top_k={top_k} is not at least 1")
        check_views(tta, info.input_shape)
        self.model = model
        self.normalisation = Normalisation.standard(info)
        self.label_smoothing = label_smoothing
        self.top_k = top_k
        self.tta = tta

    @property
    def players(self) -> Mapping[str, nn.Module]:
        """The one network."""
        return {"model": self.model}

    def forward(
        self, player: str, batch: Batch, handed: Handed
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the mean cross-entropy of the batch, and which examples it gets right (B,)."""
        assert batch.targets is not None
        logits = self.model(batch.inputs).float()  # (B, classes)
        loss = functional.cross_entropy(logits, batch.targets, label_smoothing=self.label_smoothing)
        correct = logits.detach().argmax(dim=-1) == batch.targets
        return loss, {"loss": loss.detach(), "accuracy": correct.float()}

    def predict(self, inputs: Tensor) -> Tensor:
        """Logits (B, classes) float32 of inputs (B, ...), over the views that `tta` names."""
        return mean_over_views(self.model, inputs, self.tta)

    def evaluate(self, batch: Batch) -> dict[str, Tensor]:
        """Cross-entropy without smoothing (B,), logits (B, classes), targets (B,)."""
        assert batch.targets is not None
        logits = self.predict(batch.inputs)
        loss = functional.cross_entropy(logits, batch.targets, reduction="none")
        return {"loss": loss, "logits": logits, "targets": batch.targets}

    def score(self, values: dict[str, Tensor]) -> dict[str, float]:
        """Loss, accuracy, top-k accuracy, and macro precision, recall and F1."""
        return classification_metrics(
            values["loss"], values["logits"], values["targets"], top_k=self.top_k
        )

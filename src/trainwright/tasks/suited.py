"""The task for data that are not known before they are read."""

from collections.abc import Callable, Mapping
from typing import Literal

from torch import Tensor, nn

from trainwright.data.dataset import DataInfo
from trainwright.tasks.classifier import Classifier
from trainwright.tasks.multilabel import MultiLabel
from trainwright.tasks.regression import Regression
from trainwright.tasks.task import Task

_OF_TARGET: Mapping[str, Callable[..., Task]] = {
    "classes": Classifier,
    "labels": MultiLabel,
    "values": Regression,
}


def suited(
    *,
    model: nn.Module,
    info: DataInfo,
    train_targets: Callable[[], Tensor] | None = None,
    class_weights: Literal["balanced"] | list[float] | None = None,
    focal: float = 0.0,
) -> Task:
    """A classifier for classes, regression for values, with their defaults otherwise.

    Raises ValueError where the data have nothing of the kind to predict.
    """
    if info.target not in _OF_TARGET:
        raise ValueError(
            f"task=auto learns classes, labels or values, and {info.name} has {info.target}"
        )
    if info.target == "classes":
        weighing = {"class_weights": class_weights, "focal": focal, "train_targets": train_targets}
        return Classifier(model=model, info=info, **weighing)  # type: ignore[arg-type]
    if class_weights is not None or focal:
        raise ValueError(f"class_weights and focal are for classes, and here are {info.target}")
    return _OF_TARGET[info.target](model=model, info=info)

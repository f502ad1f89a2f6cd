"""The task for data that are not known before they are read."""

from collections.abc import Callable, Mapping

from torch import nn

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


def suited(*, model: nn.Module, info: DataInfo) -> Task:
    """A classifier for classes, regression for values, both with their defaults.

    Raises ValueError where the data have nothing of the kind to predict.
    """
    if info.target not in _OF_TARGET:
        raise ValueError(
            f"task=auto learns classes, labels or values, and {info.name} has {info.target}"
        )
    return _OF_TARGET[info.target](model=model, info=info)

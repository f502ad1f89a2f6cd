"""Train from Python: by the words of the command, or with objects that a program has made."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from trainwright.api.failures import as_told
from trainwright.api.run import Opened, Run
from trainwright.api.training import compose_job, trained
from trainwright.errors import ConfigError

if TYPE_CHECKING:
    from torch import nn

    from trainwright.data.dataset import Dataset

_TASKS = {"values": "regression", "labels": "multilabel"}  # of targets that are no classes


def train(*words: str) -> Run:
    """Train as `train` does with these words, such as "model=cnn" and "trainer.epochs=2".

    Ctrl-C stops the run after its step and returns it, stopped and resumable; a second one raises
    KeyboardInterrupt at once. Raises ConfigError, DataError and the other errors of trainwright,
    each with the lines that the command prints.
    """
    return Run(*trained(words))


def fit(
    *words: str,
    model: "nn.Module | str | None" = None,
    data: "Dataset | Sequence[Any] | str | None" = None,
    epochs: float | None = None,
    validation: int | float = 0.1,
    test: int | float = 0.1,
    class_names: Sequence[str] = (),
) -> Run:
    """Train `model` on `data`: what is no object is an option's name or, where it is None, typed.

    `model`: a module that maps (B, *input_shape) to (B, num_outputs); it is trained itself, and
    ends with the best weights. `data`: inputs and targets (x, y), as arrays, tensors or a pandas
    table; what they plainly are is taken for granted (docs/api.md). Of these `validation` and
    `test`, shares or counts, are held out. Or a Dataset. `words`, errors: as for `train`.
    """
    from trainwright.api.given_data import as_dataset
    from trainwright.run.assemble.given import Given

    with as_told(words):
        module = None if isinstance(model, str) else model
        _check_module(module)
        dataset = None
        if data is not None and not isinstance(data, str):
            dataset = as_dataset(data, validation=validation, test=test, class_names=class_names)
        given = Given(module, dataset)
        typed = [
            *_choice("model", model, given.TARGETS[0], {}),
            *_choice("data", data, given.TARGETS[1], _keys_of_arrays()),
        ]
        task = None if dataset is None else _TASKS.get(dataset.info.target)
        if task is not None:
            typed.append(f"task={task}")
        if epochs is not None:
            typed.append(f"trainer.epochs={epochs}")
        keys = {word.split("=")[0] for word in words}
        words = (*(word for word in typed if word.split("=")[0] not in keys), *words)
        composed = compose_job(words)
    return Run(*trained(words, composed=composed, given=given), Opened(given=given))


def _check_module(module: object) -> None:
    """Raise ConfigError for what is no network."""
    from torch import nn

    if module is not None and not isinstance(module, nn.Module):
        is_class = isinstance(module, type) and issubclass(module, nn.Module)
        told = f"the class {module.__name__}" if is_class else f"a {type(module).__name__}"  # type: ignore[attr-defined]
        raise ConfigError(
            f"model: {told}; right would be a torch.nn.Module that is made, or an option's name"
        )


def _choice(group: str, what: Any, target: str, keys: Mapping[str, Any]) -> list[str]:
    """What is typed for an option or, when Hydra has been told of it, for an object."""
    if what is None or isinstance(what, str):
        return [] if what is None else [f"{group}={what}"]
    from hydra.core.config_store import ConfigStore

    from trainwright.config_folder import group_options

    name = type(what).__name__ if group == "model" else "given"
    name = f"{name}-given" if name in group_options(group) else name
    ConfigStore.instance().store(group=group, name=name, node={"_target_": target, **keys})
    return [f"{group}={name}"]


def _keys_of_arrays() -> dict[str, Any]:
    """What can be said of training on data that are given: that which can be said of arrays."""
    from omegaconf import OmegaConf

    from trainwright.config_folder import config_folder

    arrays = OmegaConf.load(config_folder() / "data" / "arrays.yaml")
    return {"balance": arrays.balance, "augment": arrays.augment}

"""What data, settings and network must be, before a run is put together from them."""

from torch import nn

from trainwright.data.dataset import Dataset
from trainwright.data.examples import first_of
from trainwright.engine.checkpoint.tensor_file import unfit
from trainwright.engine.nonfinite import first_nonfinite
from trainwright.engine.settings import TrainerSettings
from trainwright.errors import ConfigError, DataError
from trainwright.tasks.task import Task


def check_columns(dataset: Dataset) -> None:
    """Raise DataError where an example of a split is not as its columns say."""
    for name, split in dataset.splits.items():
        stored = first_of(split, 1)
        for key, column in dataset.info.columns.items():
            fault = column.fault(stored[key]) if key in stored else "is not there"
            if fault:
                raise DataError(
                    f"{dataset.info.name}: an example of {key} in the {name} split {fault}"
                )


def check_parts(options: TrainerSettings, task: Task) -> None:
    """Batch normalisation of vectors needs two examples to have a variance at all."""
    if options.batch_size > options.accumulate:
        return
    if any(isinstance(module, nn.BatchNorm1d) for module in task.modules()):
        raise ConfigError(
            f"trainer.batch_size={options.batch_size}: batch normalisation needs at least 2 "
            "examples at a time\n"
            f"  make it at least {2 * options.accumulate}, or choose another model norm"
        )


def check_keepable(task: Task) -> None:
    """Raise ConfigError for a network that no checkpoint could hold, which holds finite numbers."""
    state = task.state_dict()
    problem = unfit(state, room=4)  # with averages, and what an optimizer remembers
    if problem is not None:
        raise ConfigError(
            f"model: no checkpoint could hold it\n  {problem}\n"
            "  what need not be kept: register_buffer(..., persistent=False)"
        )
    found = first_nonfinite(state)
    if found is not None:
        raise ConfigError(
            f"model: it contains NaN or infinity before training\n  {found}\n"
            "  for a constant mask, use register_buffer(..., persistent=False)"
        )

"""Arrays of a program's own as a dataset."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from trainwright.errors import ConfigError

if TYPE_CHECKING:
    from trainwright.data.dataset import Dataset


def as_dataset(
    data: Any,
    *,
    validation: int | float = 0.1,
    test: int | float = 0.1,
    class_names: Sequence[str] = (),
) -> "Dataset":
    """The dataset that (x, y) are, or that it is already. Raises ConfigError, DataError."""
    from trainwright.data.dataset import INPUTS, TARGETS, Dataset
    from trainwright.data.sources.arrays import dataset_of

    if isinstance(data, Dataset):
        return data
    if not (isinstance(data, tuple | list) and len(data) == 2):
        raise ConfigError(
            f"data: a {type(data).__name__}; right would be inputs and targets, data=(x, y), or a "
            "Dataset\n  for data without targets: data=(x, None)"
        )
    inputs, targets = data
    names = getattr(inputs, "columns", ()) if hasattr(inputs, "to_numpy") else ()
    return dataset_of(
        "data",
        inputs if isinstance(inputs, Mapping) else {INPUTS: _array(inputs)},
        {}
        if targets is None
        else targets
        if isinstance(targets, Mapping)
        else {TARGETS: _array(targets)},
        class_names=class_names,
        feature_names=[str(name) for name in names],
        validation=validation,
        test=test,
    )


def _array(values: Any) -> Any:
    """A NumPy array of a pandas table or a list; anything else as it is."""
    import numpy as np

    if hasattr(values, "to_numpy"):
        values = values.to_numpy()
    if isinstance(values, list | tuple):
        values = np.asarray(values)
    is_text = isinstance(values, np.ndarray) and values.dtype == object and values.size
    return values.astype(str) if is_text and isinstance(values.flat[0], str) else values

"""Train small and medium models, from the shell and from Python (docs/api.md)."""

import importlib
import sys
from types import ModuleType
from typing import TYPE_CHECKING, Any

__version__ = "0.2.0.dev0"

if TYPE_CHECKING:
    from trainwright.api.fitting import fit, train
    from trainwright.api.loading import load
    from trainwright.api.results.evaluation import Evaluation
    from trainwright.api.results.history import Columns
    from trainwright.api.results.predictions import Predictions
    from trainwright.api.results.samples import Samples
    from trainwright.api.run import Run
    from trainwright.api.sweeps import Sweep, load_sweep, sweep
    from trainwright.api.table import Runs, runs
    from trainwright.errors import (
        CheckpointError,
        ConfigError,
        DataError,
        DiskError,
        IllError,
        NonFiniteError,
        OutOfMemoryError,
        TrainwrightError,
    )

__all__ = [
    "CheckpointError",
    "Columns",
    "ConfigError",
    "DataError",
    "DiskError",
    "Evaluation",
    "IllError",
    "NonFiniteError",
    "OutOfMemoryError",
    "Predictions",
    "Run",
    "Runs",
    "Samples",
    "Sweep",
    "TrainwrightError",
    "fit",
    "load",
    "load_sweep",
    "runs",
    "sweep",
    "train",
]

_FOUND_IN = {
    "api.results.evaluation": ("Evaluation",),
    "api.fitting": ("fit", "train"),
    "api.results.history": ("Columns",),
    "api.results.predictions": ("Predictions",),
    "api.loading": ("load",),
    "api.run": ("Run",),
    "api.results.samples": ("Samples",),
    "api.sweeps": ("Sweep", "load_sweep", "sweep"),
    "api.table": ("Runs", "runs"),
}
_PLACES = {name: place for place, names in _FOUND_IN.items() for name in names}


def __getattr__(name: str) -> Any:
    """What is public is imported when it is first asked for: this module costs nothing."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module = importlib.import_module(f"{__name__}.{_PLACES.get(name, 'errors')}")
    found = getattr(module, name)
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    return [*__all__, "__version__"]


class _Face(ModuleType):
    """Folders of ours are called `runs` and `sweep` too: to import one leaves the functions."""

    def __setattr__(self, name: str, value: Any) -> None:
        if not (name in _PLACES and isinstance(value, ModuleType)):
            super().__setattr__(name, value)


sys.modules[__name__].__class__ = _Face

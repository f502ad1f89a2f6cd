"""A hook that a config adds: what it finds is logged, what it shows is written."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from trainwright.engine.hook import Hook
from trainwright.engine.state import TrainState
from trainwright.errors import ConfigError
from trainwright.hooks.samples import write_shown
from trainwright.runs.folder import RunFolder, file_name
from trainwright.tasks.show import Images, Table, Text


class Own(Hook):
    """Calls a hook of the section `hooks` under the name that it has there.

    Numbers that it returns, by name, stand in the next line of metrics.jsonl as
    `<its name>/<name>`. Images, a text or a table go to `samples/<step>-<its name>`.
    """

    def __init__(self, name: str, hook: Hook) -> None:
        self._name, self._hook = name, hook
        self._folder: RunFolder | None = None

    @property
    def name(self) -> str:
        return f"hooks.{self._name}"

    def begin(self, folder: RunFolder) -> None:
        """Write what it shows to this folder from now on."""
        self._folder = folder

    def due(self, step: int, total: int) -> bool:
        return self._hook.due(step, total)

    def __call__(self, state: TrainState, metrics: dict[str, Tensor]) -> None:
        """Call the hook and keep what it returns."""
        state.open()
        with torch.no_grad():
            found: object = self._hook(state, metrics)
        if isinstance(found, Images | Text | Table):
            assert self._folder is not None
            write_shown(found, self._folder, f"{state.step:06d}-{file_name(self._name)}")
        elif isinstance(found, Mapping):
            state.noted |= {f"{self._name}/{k}": self._number(k, v) for k, v in found.items()}
        elif found is not None:
            raise ConfigError(
                f"{self.name} returned a {type(found).__name__}\n"
                "  a hook returns numbers by name, Images, Text, a Table, or nothing"
            )

    def _number(self, key: object, value: Any) -> float:
        try:
            return float(value)
        except (TypeError, ValueError, RuntimeError):
            raise ConfigError(
                f"{self.name} gives {str(value)[:60]!r} as {key}\n  it must be a number"
            ) from None

    def state_dict(self) -> dict[str, Any]:
        return self._hook.state_dict()

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self._hook.load_state_dict(state)

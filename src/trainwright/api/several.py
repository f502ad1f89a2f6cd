"""A run of several processes, which are started beside the one of a program."""

import logging
import signal
from pathlib import Path
from typing import TYPE_CHECKING

from trainwright import errors
from trainwright.cli.job import launched
from trainwright.errors import TrainwrightError
from trainwright.files import typed_path
from trainwright.runs.folder import RunFolder
from trainwright.stop_signals import STOP_SIGNALS

if TYPE_CHECKING:
    from omegaconf import DictConfig

    from trainwright.config.plan import Plan

log = logging.getLogger(__name__)


def trained_by_several(
    config: "DictConfig", overrides: list[str], plan: "Plan | None", num_ranks: int
) -> tuple[Path, int | None]:
    """The folder of the run, and the signal that has stopped it.

    Its lines are logged here. Raises TrainwrightError, and KeyboardInterrupt after a second Ctrl-C.
    """
    launch = launched(config, overrides, plan, num_ranks)
    launch.take = log.info
    code = launch.run()
    number = code - 128
    was_stopped = number in STOP_SIGNALS and not launch.was_hurried and bool(launch.folder)
    if code == 0 or was_stopped:
        return _found(config, launch.folder), number if was_stopped else None
    if number == signal.SIGINT:
        raise KeyboardInterrupt
    text = launch.failure.removeprefix("error: ").strip()
    kind = getattr(errors, launch.kind, TrainwrightError)
    raise kind(text or f"rank 0 has ended with exit code {code}")


def _found(config: "DictConfig", folder: str) -> Path:
    """The folder, below the root of runs as that is typed; of a run that had nothing more to do."""
    if not folder:
        return RunFolder.existing(str(config.trainer.resume)).path
    root = typed_path(str(config.run.root))
    is_below = Path(folder).is_relative_to(root.resolve())
    return root / Path(folder).relative_to(root.resolve()) if is_below else Path(folder)

"""A run of before, by its name."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trainwright.api.failures import as_told
from trainwright.api.run import Checkpoint, Opened, Precision, Run
from trainwright.files import typed_path
from trainwright.runs.find import DEFAULT_ROOT, find_run

if TYPE_CHECKING:
    from torch import nn


def load(
    run: str | Path,
    *,
    root: str | Path = DEFAULT_ROOT,
    checkpoint: Checkpoint = "best",
    device: str = "auto",
    precision: Precision | None = None,
    trust: Sequence[str] = (),
    model: "nn.Module | None" = None,
    data: Any = None,
) -> Run:
    """The run that is meant: a path, `last`, `best:accuracy`, or a piece of its name.

    Nothing is read before it is asked for. `root`: where runs are looked for. `checkpoint`,
    `device`, `precision`: with which weights, where and how its network then computes. `trust`:
    classes of your own that it may build. `model`, `data`: those of a run that `fit` was given
    objects for; the network gets its weights. Raises ConfigError where there is no such run.
    """
    with as_told():
        record = find_run(str(run), typed_path(str(root)))
    given = None
    if model is not None or data is not None:
        from trainwright.api.given_data import as_dataset
        from trainwright.run.assemble.given import Given

        given = Given(model, None if data is None else as_dataset(data))
        sections = [record.config.get(name) for name in ("model", "data")]
        targets = [node.get("_target_") for node in sections if isinstance(node, dict)]
        trust = (*trust, *(target for target in targets if target in Given.TARGETS))
    is_below = record.name != record.path.name
    return Run(
        record.path,
        typed_path(str(root)) if is_below else None,
        Opened(checkpoint, device, precision, tuple(trust), given),
    )

"""Go on with an earlier run: its own config, what may be changed, and the state it was in."""

from collections.abc import Sequence
from pathlib import Path

from omegaconf import DictConfig, OmegaConf

from trainwright.config import TRUSTED_TARGETS, unknown_key
from trainwright.engine import checkpoint
from trainwright.errors import ConfigError
from trainwright.run import Request, Resume
from trainwright.runfolder import RunFolder

# What may differ when a run goes on: how long it is, how often it looks, where it computes.
CHANGEABLE = (
    "trainer.epochs",
    "trainer.steps",
    "trainer.log_every",
    "trainer.evaluate_every",
    "trainer.sample_every",
    "trainer.save_every",
    "trainer.evaluate_batch_size",
    "trainer.early_stopping.patience",
    "trainer.device",
    "trainer.threads",
    "data.root",
    "data.path",
)


def resume_request(config: DictConfig, overrides: Sequence[str]) -> Request:
    """The request to go on with the run that `trainer.resume` names.

    The run's own config counts, not the defaults of today; what is typed besides must be among
    CHANGEABLE. Raises ConfigError or CheckpointError.
    """
    named = str(config.trainer.resume)
    folder = RunFolder.existing(named)
    path = Path(named).expanduser()
    tensors, metadata = checkpoint.load(path if path.is_file() else folder.last)
    stored = DictConfig(metadata["config"])
    typed = [override.lstrip("+") for override in overrides]
    for key in (override.split("=")[0] for override in typed):
        if key in {"trainer.resume", "trust"}:
            continue
        if key not in CHANGEABLE:
            raise ConfigError(
                f"{key}: cannot be changed when a run goes on, for it would be another run\n"
                "  leave it out, or start a new run without trainer.resume\n"
                f"  may be changed: {', '.join(CHANGEABLE)}"
            )
        if OmegaConf.select(stored, key, default=_MISSING) is _MISSING:
            raise unknown_key(key, list(stored[key.split(".")[0]]))
        value = OmegaConf.select(config, key)
        OmegaConf.update(stored, key, value)
        if key in {"trainer.epochs", "trainer.steps"} and value is not None:
            other = "steps" if key == "trainer.epochs" else "epochs"
            OmegaConf.update(stored, f"trainer.{other}", None)
    trusted = TRUSTED_TARGETS | {str(target) for target in config.trust}
    return Request(
        config=stored,
        overrides=overrides,
        name=str(metadata["name"]),
        resume=Resume(folder, tensors, metadata, trusted),
    )


_MISSING = object()

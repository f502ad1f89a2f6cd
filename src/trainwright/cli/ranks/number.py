"""How many processes a run is to have.

Imports no torch.
"""

from typing import Any

from omegaconf import DictConfig

from trainwright.config.plan import Plan
from trainwright.errors import ConfigError, TrainwrightError
from trainwright.run.ranks.places import place_among_others
from trainwright.runs.folder import RunFolder
from trainwright.runs.stored import UnreadableError, read_yaml


def number_of_ranks(config: DictConfig, plan: Plan | None) -> int:
    """How many processes are to be started; 1: this one trains. Raises ConfigError.

    `plan`: None where a run goes on, which has as many as before unless something else is typed.
    """
    devices: Any = config.trainer.get("devices")  # 0.1 had none
    place = place_among_others()
    if place is not None:
        if devices not in (None, "auto", place[1]):
            raise ConfigError(
                f"trainer.devices={devices}: {place[1]} processes were started already\n"
                "  leave it out"
            )
        return 1
    if plan is None and devices is None:
        devices = _stored(str(config.trainer.resume))
    if devices is None:
        return 1
    from trainwright.sweep.workers.slots import visible_gpus

    device = str(config.trainer.device)
    gpus = [] if device == "cpu" else visible_gpus()
    if devices == "auto":
        return max(1, len(gpus))
    if not isinstance(devices, int) or devices < 1:
        raise ConfigError(f"trainer.devices={devices}: it must be a number from 1 on, or auto")
    if gpus and devices > len(gpus):
        has = "one GPU" if len(gpus) == 1 else f"{len(gpus)} GPUs"
        raise ConfigError(
            f"trainer.devices={devices}: this machine has {has} to use\n"
            f"  take trainer.devices={len(gpus)}, or trainer.device=cpu for {devices} processes"
        )
    if devices > 1 and device.partition(":")[2]:
        raise ConfigError(
            f"trainer.device={device} is one device, and trainer.devices={devices} are several\n"
            "  leave trainer.device out"
        )
    return devices


def _stored(run: str) -> Any:
    try:
        stored = read_yaml(RunFolder.existing(run).path / "config.yaml", section="trainer")
    except (TrainwrightError, UnreadableError, OSError):
        return None  # which will be said where the run is read
    trainer = stored.get("trainer")
    return trainer.get("devices") if isinstance(trainer, dict) else None

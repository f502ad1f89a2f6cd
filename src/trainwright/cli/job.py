"""One job of `train`: a new run, or an old one that goes on."""

import math
import sys
from collections.abc import Sequence

from hydra.conf import HydraConf
from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf, open_dict

from trainwright.compose import settle_length
from trainwright.resume import resume_request
from trainwright.run import Request, run


def run_job(config: DictConfig) -> float:
    """Run the composed config. Returns the best objective, not a number if none was evaluated.

    Exits with 128 + the number of a signal that stopped the run.
    """
    hydra = HydraConfig.get()
    overrides = list(hydra.overrides.task)
    if config.trainer.resume is not None:
        request = resume_request(config, overrides)
    else:
        request = _new_request(config, overrides, hydra)
    outcome = run(request)
    if outcome.signal is not None:
        sys.exit(128 + outcome.signal)
    return math.nan if outcome.objective is None else outcome.objective


def _new_request(config: DictConfig, overrides: Sequence[str], hydra: HydraConf) -> Request:
    config = DictConfig(OmegaConf.to_container(config, resolve=False))
    settle_length(config, overrides)
    choices = hydra.runtime.choices
    name = config.run.name or f"{choices['model']}-{choices['data']}"
    if hydra.mode == RunMode.MULTIRUN and config.run.dir is None:
        # Every job of a sweep gets a folder of its own within the sweep's.
        with open_dict(config):
            config.run.dir = f"{hydra.sweep.dir}/{hydra.job.num}-{name}"
    return Request(config=config, overrides=overrides, name=str(name))

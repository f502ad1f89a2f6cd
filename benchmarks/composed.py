"""A run as `train` would begin it, in this process; with the drawn images of configs/ to choose."""

from hydra import compose, initialize_config_dir
from measure import HERE
from omegaconf import DictConfig

from trainwright.config.compose import register_schema, settle_length
from trainwright.config.plan import Plan
from trainwright.config_folder import config_folder
from trainwright.run.assemble.assemble import Assembly, assemble


def composed(*typed: str) -> DictConfig:
    """The config of what a user would type."""
    register_schema()
    ours = f"hydra.searchpath=[file://{HERE / 'configs'}]"
    with initialize_config_dir(str(config_folder()), version_base="1.3"):
        config = compose("train", [ours, *typed])
    settle_length(config, typed)
    return config


def ready(*typed: str) -> Assembly:
    """The run, ready to train."""
    return assemble(Plan.of(composed(*typed)))

"""What the tests of several folders start from: a config as `train` composes it, and a run."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from hydra import compose, initialize_config_dir
from omegaconf import DictConfig, OmegaConf

from trainwright.assemble import Assembly, assemble
from trainwright.compose import register_schema, settle_length
from trainwright.config_folder import config_folder
from trainwright.resume import resume_request
from trainwright.run import Outcome, Request, run


@pytest.fixture(scope="session", autouse=True)
def _one_thread():
    """One and two threads differ bitwise, and the tests share the machine."""
    torch.set_num_threads(1)


def _composed(*overrides: str) -> DictConfig:
    register_schema()
    with initialize_config_dir(str(config_folder()), version_base="1.3"):
        config = compose("train", overrides=list(overrides))
    config = DictConfig(OmegaConf.to_container(config, resolve=False))
    settle_length(config, overrides)
    return config


@pytest.fixture(scope="session")
def composed() -> Callable[..., DictConfig]:
    """Compose the shipped configs with overrides, as the command line does."""
    return _composed


@pytest.fixture(scope="session")
def assembled() -> Callable[..., Assembly]:
    """Everything of a run, built but not started."""
    return lambda *overrides: assemble(_composed(*overrides))


@pytest.fixture(scope="session")
def train() -> Callable[..., Outcome]:
    """Run as `train <overrides>` does, in this process, in a folder that must be new."""

    def start(folder: Path, *overrides: str) -> Outcome:
        config = _composed(*overrides, f"run.dir={folder}")
        return run(Request(config=config, overrides=overrides, name=folder.name))

    return start


@pytest.fixture(scope="session")
def resume() -> Callable[..., Outcome]:
    """Go on as `train trainer.resume=<folder> <overrides>` does, in this process."""

    def start(folder: Path, *overrides: str) -> Outcome:
        typed = [f"trainer.resume={folder}", *overrides]
        return run(resume_request(_composed(*typed), typed))

    return start

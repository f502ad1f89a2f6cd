"""A program in a folder of its own, with what trainwright changes in a process put back."""

import copy
import logging
import sys

import pytest
from hydra.core.config_store import ConfigStore
from hydra.core.plugins import Plugins

import trainwright as tw

FEW = ("trainer.threads=1", "trainer.plots=false", "data=digits", "data.limit=300")


@pytest.fixture(scope="module")
def program(tmp_path_factory):
    """The folder, which is the working directory of all tests of a module."""
    folder = tmp_path_factory.mktemp("program")
    Plugins.instance()  # they register their configs when they are found, once a process
    store, logger = ConfigStore.instance(), logging.getLogger("trainwright")
    configs = copy.deepcopy(store.repo)
    before = logger.level, logger.propagate, list(logger.handlers)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setattr(sys, "path", list(sys.path))
        yield folder
    store.repo = configs
    logger.level, logger.propagate, logger.handlers = before


@pytest.fixture(scope="module")
def run(program):
    """A run of a few steps."""
    return tw.train(*FEW, "model=mlp", "model.widths=[16]", "trainer.steps=12")

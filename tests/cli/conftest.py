"""`train` in this process, to be frugal, and as the installed command, to be sure."""

import copy
import functools
import logging
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
from hydra.core.config_store import ConfigStore
from hydra.core.global_hydra import GlobalHydra
from hydra.core.plugins import Plugins

from trainwright.cli.train import main

TRAIN = Path(sys.executable).with_name("train")


@dataclass(frozen=True)
class Result:
    code: int
    out: str
    err: str


@pytest.fixture
def empty(tmp_path, monkeypatch) -> Path:
    """An empty directory, which is the working directory."""
    folder = tmp_path / "here"
    folder.mkdir()
    monkeypatch.chdir(folder)
    return folder


@pytest.fixture(autouse=True)
def _own_config_store():
    """What a command has told Hydra, such as the config that it forks, is gone with the test."""
    Plugins.instance()  # they register their configs when they are found, once a process
    store = ConfigStore.instance()
    before = copy.deepcopy(store.repo)
    yield
    store.repo = before


@pytest.fixture
def run_main(empty, capfd, monkeypatch):
    """Call the command's entry point in this process, and leave the process as it was."""
    monkeypatch.setattr(sys, "argv", ["train"])
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setenv("HYDRA_FULL_ERROR", "1")
    modules = set(sys.modules)
    logger = logging.getLogger("trainwright")
    before = logger.level, logger.propagate, list(logger.handlers)

    def call(*arguments: str) -> Result:
        GlobalHydra.instance().clear()
        capfd.readouterr()
        try:
            main(list(arguments))
            code = 0
        except SystemExit as stop:
            code = stop.code or 0
        captured = capfd.readouterr()
        return Result(code, captured.out, captured.err)

    yield call
    GlobalHydra.instance().clear()
    logger.level, logger.propagate, logger.handlers = before
    for name in set(sys.modules) - modules:
        file = getattr(sys.modules[name], "__file__", None)
        if file is not None and Path(file).is_relative_to(empty):
            del sys.modules[name]


@pytest.fixture(scope="session")
def environment() -> dict[str, str]:
    """One thread, waiting passively: tests share the machine."""
    return {**os.environ, "OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "passive"}


@pytest.fixture
def run_program(empty, environment) -> Callable[..., Result]:
    """Run a program in the empty directory."""

    def call(*command: str | Path, **more: str) -> Result:
        done = subprocess.run(
            command,
            cwd=empty,
            env={**environment, **more},
            capture_output=True,
            text=True,
            check=False,
        )
        return Result(done.returncode, done.stdout, done.stderr)

    return call


@pytest.fixture
def run_train(run_program) -> Callable[..., Result]:
    """Run the installed command in the empty directory."""
    return functools.partial(run_program, TRAIN)


@pytest.fixture
def start_train(empty, environment):
    """Start the installed command and leave it running; its output comes through pipes."""
    started = []

    def call(*arguments: str) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [TRAIN, *arguments],
            cwd=empty,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        started.append(process)
        return process

    yield call
    for process in started:
        process.kill()
        process.communicate()

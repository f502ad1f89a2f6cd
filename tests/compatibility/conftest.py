"""A copy of the runs that an earlier version made, and the commands as they are typed there.

Of trainwright only what its two commands call is known here, so that anything else can move.
"""

import copy
import logging
import shlex
import shutil
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from hydra.core.config_store import ConfigStore
from hydra.core.global_hydra import GlobalHydra
from hydra.core.plugins import Plugins

from trainwright.cli.runs import main as runs
from trainwright.cli.train import main as train

RUNS_OF_0_1 = Path(__file__).with_name("0.1")
MAIN = {"train": train, "runs": runs}


@dataclass(frozen=True)
class Result:
    code: int
    out: str
    err: str


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The project of 0.1 with its runs, copied; it is the working directory."""
    folder = tmp_path / "project"
    shutil.copytree(RUNS_OF_0_1, folder)
    for summary in folder.glob("outputs/**/summary.json"):
        for empty in ("checkpoints", "plots", "samples"):  # git keeps no empty folders
            (summary.parent / empty).mkdir(exist_ok=True)
    monkeypatch.chdir(folder)
    return folder


@pytest.fixture
def shell(
    project: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> Iterator[Callable[..., Result]]:
    """Call a command line in the project, in this process, which is then left as it was."""
    monkeypatch.setattr(sys, "argv", ["train"])
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setenv("HYDRA_FULL_ERROR", "1")
    Plugins.instance()  # they register their configs when they are found, once a process
    store = ConfigStore.instance()
    configs = copy.deepcopy(store.repo)
    modules = set(sys.modules)
    logger = logging.getLogger("trainwright")
    logged = logger.level, logger.propagate, list(logger.handlers)

    def call(line: str, *, code: int = 0, codes: tuple[int, ...] = ()) -> Result:
        GlobalHydra.instance().clear()
        capfd.readouterr()
        program, *words = shlex.split(line)
        try:
            MAIN[program](words)
            left = 0
        except SystemExit as stop:
            left = stop.code or 0
        out, err = capfd.readouterr()
        assert left in (codes or (code,)), f"{line}\n{err}"
        assert "Traceback" not in err
        return Result(left, out, err)

    yield call
    GlobalHydra.instance().clear()
    store.repo = configs
    logger.level, logger.propagate, logger.handlers = logged
    for name in set(sys.modules) - modules:
        file = getattr(sys.modules[name], "__file__", None)
        if file is not None and Path(file).is_relative_to(project):
            del sys.modules[name]

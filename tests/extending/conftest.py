"""A user with a module of their own and a few lines of YAML, at both commands.

A test module says what is theirs: `CONFIGS`, the YAML by its place in ./configs, and `TRAIN`, what
they type after `train`. Its own name less `test_` is that of the user's module beside it, where
there is one; `ALSO` names others.
"""

import contextlib
import copy
import io
import json
import logging
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
from hydra.core.config_store import ConfigStore
from hydra.core.global_hydra import GlobalHydra
from hydra.core.plugins import Plugins
from torch import Tensor

from trainwright.cli.runs import main as runs_main
from trainwright.cli.train import main as train_main
from trainwright.engine.checkpoint import checkpoint

# A hook of theirs too: it stops the run as a cluster would, after a step.
STOPPING = """
import signal
from trainwright.engine.hook import Hook

class Stop(Hook):
    def __init__(self, *, after: int) -> None:
        self.after = after

    def due(self, step, total):
        return step == self.after

    def __call__(self, state, metrics):
        signal.raise_signal(signal.SIGTERM)
"""


@dataclass(frozen=True)
class Said:
    """How a command ended, and what it said."""

    code: int
    out: str
    err: str


class User:
    """Works in a folder of their own, with both commands in this process."""

    def __init__(self, folder: Path, train_words: tuple[str, ...]) -> None:
        self.folder = folder
        self._words = train_words

    def train(self, *words: str) -> Said:
        """Type `train`, what is always typed, and these words."""
        return self._type(train_main, *self._words, "trainer.plots=false", *words)

    def types_train(self, *words: str) -> Said:
        """Type `train` and these words alone."""
        return self._type(train_main, *words)

    def runs(self, *words: str) -> Said:
        """Type `runs` and these words."""
        return self._type(runs_main, *words)

    def _type(self, main: Callable[[list[str]], None], *words: str) -> Said:
        out, err = io.StringIO(), io.StringIO()
        Plugins.instance()  # they register their configs when they are found, once a process
        store, logger = ConfigStore.instance(), logging.getLogger("trainwright")
        configs = copy.deepcopy(store.repo)
        before = logger.level, logger.propagate, list(logger.handlers)
        with pytest.MonkeyPatch.context() as patch:
            patch.chdir(self.folder)
            patch.setattr(sys, "argv", ["train"])
            patch.setattr(sys, "path", list(sys.path))
            patch.setenv("HYDRA_FULL_ERROR", "1")
            GlobalHydra.instance().clear()
            with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
                try:
                    main(list(words))
                    code = 0
                except SystemExit as stop:
                    code = int(stop.code or 0)
            GlobalHydra.instance().clear()
        store.repo = configs
        logger.level, logger.propagate, logger.handlers = before
        said = Said(code, out.getvalue(), err.getvalue())
        assert "Traceback" not in said.out + said.err, said.err
        return said

    def weights(self, run: str) -> dict[str, Tensor]:
        """All tensors of a run's last checkpoint: weights, averages, what an optimizer keeps."""
        return checkpoint.load(self.folder / run / "checkpoints" / "last.safetensors")[0]

    def has_the_bits_of(self, run: str, other: str) -> bool:
        """Whether the last checkpoints of two runs hold the same tensors."""
        one, two = self.weights(run), self.weights(other)
        return one.keys() == two.keys() and all(torch.equal(one[k], two[k]) for k in two)

    def summary(self, run: str) -> dict:
        """What summary.json says of a run."""
        return json.loads((self.folder / run / "summary.json").read_text())

    def rows(self, run: str) -> list[dict]:
        """Those of metrics.jsonl."""
        lines = (self.folder / run / "metrics.jsonl").read_text().splitlines()
        return [json.loads(line) for line in lines]

    def log(self, run: str) -> str:
        """Its train.log."""
        return (self.folder / run / "train.log").read_text()

    def told(self, *words: str) -> dict:
        """What `runs` prints as JSON."""
        said = self.runs(*words)
        assert said.code == 0, said.err
        return json.loads(said.out)

    def page(self, run: str) -> dict:
        """The data of a page that `runs report` makes of a run."""
        said = self.runs("report", run, "out=page.html")
        assert said.code == 0, said.err
        text = (self.folder / "page.html").read_text()
        _, _, after = text.partition('id="data">')
        return json.loads(after.partition("</script>")[0])


@pytest.fixture(scope="module")
def user(request, tmp_path_factory):
    """Who has the module beside the tests, in a folder of their own, and nothing else of ours."""
    folder = tmp_path_factory.mktemp("theirs")
    tests = Path(request.module.__file__)
    own = tests.name.removeprefix("test_")
    names = [own] if tests.with_name(own).exists() else []
    for name in (*names, *getattr(request.module, "ALSO", ())):
        (folder / name).write_text(tests.with_name(name).read_text())
    (folder / "stopping.py").write_text(STOPPING)
    for place, text in request.module.CONFIGS.items():
        (folder / "configs" / place).parent.mkdir(parents=True, exist_ok=True)
        (folder / "configs" / place).write_text(text)
    modules = set(sys.modules)
    yield User(folder, request.module.TRAIN)
    for name in set(sys.modules) - modules:
        file = getattr(sys.modules[name], "__file__", None)
        if file is not None and Path(file).is_relative_to(folder):
            del sys.modules[name]


@pytest.fixture(scope="module")
def trained(user) -> str:
    """A run of theirs that nobody disturbed, by its name."""
    said = user.train("run.dir=whole")
    assert said.code == 0, said.err
    return "whole"


@pytest.fixture(scope="module")
def resumed(user) -> str:
    """The same run, stopped by SIGTERM after its third step and resumed, by its name."""
    stop = ("hooks.stop._target_=stopping.Stop", "hooks.stop.after=3")
    said = user.train("run.dir=stopped", *stop)
    assert said.code == 143, said.err
    assert user.summary("stopped")["status"] == "stopped"
    said = user.types_train("trainer.resume=stopped")
    assert said.code == 0, said.err
    assert "resumed at step 3" in said.out
    return "stopped"

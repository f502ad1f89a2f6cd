"""A logger that fails, hangs or floods changes nothing for the run, and says so once."""

import logging
import threading

import pytest

from trainwright.hooks.loggers import outlet as outlet_module
from trainwright.hooks.loggers.logger import LoggedRun, Logger
from trainwright.hooks.loggers.outlet import Outlet


class Remembering(Logger):
    """Keeps what it gets, and raises or waits where it is told to."""

    name = "remembering"

    def __init__(self, *, fails=(), waits_for=None):
        self.got, self.fails, self.waits_for = [], fails, waits_for

    def check(self):
        pass

    def start(self, run):
        self._take("start", 0)

    def scalars(self, step, values):
        self._take("scalars", step)

    def image(self, step, name, path):
        self._take("image", step)

    def finish(self, summary):
        self._take("finish", 0)

    def _take(self, what, step):
        if self.waits_for is not None:
            self.waits_for.wait()
        if (what, step) in self.fails or what in self.fails:
            raise ConnectionError("no route to host\nand more")
        self.got.append((what, step))


@pytest.fixture
def said(caplog):
    caplog.set_level(logging.INFO)
    return lambda: [record.getMessage() for record in caplog.records]


def send(logger, folder, steps, **settings):
    outlet = Outlet(logger, **settings)
    outlet.start(LoggedRun(folder, "run", {}, 0))
    for step in steps:
        outlet.scalars(step, {"loss": 1.0})
    outlet.finish({})
    return outlet


def test_calls_arrive_in_order(tmp_path, said):
    logger = Remembering()
    send(logger, tmp_path, range(500))
    steps = [("scalars", step) for step in range(500)]
    assert logger.got == [("start", 0), *steps, ("finish", 0)]
    assert said() == []


def test_a_failure_is_told_once_and_the_rest_still_arrives(tmp_path, said):
    logger = Remembering(fails={("scalars", 1), ("scalars", 3)})
    send(logger, tmp_path, range(5))
    assert [step for what, step in logger.got if what == "scalars"] == [0, 2, 4]
    first, last = said()
    assert first == (
        "logger remembering could not send (ConnectionError: no route to host); the run goes on"
    )
    assert last == "logger remembering: 2 calls were lost; metrics.jsonl has it all"


@pytest.mark.parametrize("fails", [{"start"}, {"scalars"}])
def test_what_fails_for_good_is_given_up(fails, tmp_path, said):
    logger = Remembering(fails=fails)
    send(logger, tmp_path, range(50))
    assert ("finish", 0) not in logger.got
    assert sum("is given up" in line for line in said()) == 1
    assert len(said()) <= 3


def test_a_logger_that_hangs_neither_stops_the_run_nor_its_end(tmp_path, said, monkeypatch):
    monkeypatch.setattr(outlet_module, "MAX_WAITING", 20)
    never = threading.Event()
    logger = Remembering(waits_for=never)
    send(logger, tmp_path, range(1000), patience=0.05)  # more than can wait: the rest is dropped
    assert logger.got == []
    assert [line for line in said() if "too slow" in line]
    never.set()


def test_a_slow_logger_is_waited_for_while_it_makes_progress(tmp_path, said):
    class Slow(Remembering):
        def _take(self, what, step):
            threading.Event().wait(0.02)
            super()._take(what, step)

    logger = Slow()
    send(logger, tmp_path, range(12), patience=0.15)  # 14 calls of 0.02 s each: more than 0.15 s
    assert logger.got[-1] == ("finish", 0)


def test_what_is_remembered_is_recalled_and_leaves_the_rest(tmp_path):
    run = LoggedRun(tmp_path, "run", {}, 0)
    assert run.recall("wandb") is None
    run.remember("wandb", "abc")
    run.remember("mlflow", "def")
    again = LoggedRun(tmp_path, "run", {}, 5)
    assert (again.recall("wandb"), again.recall("mlflow")) == ("abc", "def")
    (tmp_path / "loggers.json").write_text("[damaged")
    assert again.recall("wandb") is None

"""`trainer.devices=2` from Python: the run of `train`, whose lines and errors are the program's."""

import logging
import os
import signal
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from torch import nn

import trainwright as tw

from .conftest import FEW

TWO = (*FEW, "trainer.devices=2", "trainer.device=cpu")


@pytest.fixture
def said(program):
    """The lines that a handler of the program's own is given."""
    lines, logger = [], logging.getLogger("trainwright")
    before = logger.handlers
    logger.handlers = [handler := logging.Handler()]
    handler.emit = lambda record: lines.append(record.getMessage())
    yield lines
    logger.handlers = before


def test_the_run_is_given_back_goes_on_and_its_lines_are_logged(program, said, capfd):
    run = tw.train(*TWO, "trainer.steps=4")
    assert (run.status, run.name.partition("/")[0]) == ("finished", run.path.parts[1])
    assert [path.name for path in (run.path / "ranks").iterdir()] == ["1.log"]
    assert sum("2 ranks (gloo)" in line for line in said) == 1
    assert sum(line.startswith("best: step") for line in said) == 1
    assert capfd.readouterr() == ("", "")
    assert run.resume().path == run.path
    assert said[-3].startswith("this run is finished")


def test_objects_are_not_sent_to_other_processes(program):
    data = np.zeros((100, 4), "f4"), np.arange(100) % 2
    with pytest.raises(tw.ConfigError, match=r"given the model and data of this process\n"):
        tw.fit(*TWO[:2], *TWO[-2:], model=nn.Linear(4, 2), data=data)


@pytest.mark.slow
def test_what_goes_wrong_in_a_rank_is_the_error_that_it_is_in_one_process(program, said):
    for words in (["optimizer.lr=1e30", "trainer.steps=9"], ["data=folder", "data.path=none"]):
        found = []
        for devices in (1, 2):
            with pytest.raises(tw.TrainwrightError) as raised:
                tw.train(*TWO, *words, f"trainer.devices={devices}")
            found.append((raised.type, str(raised.value).splitlines()[:3]))
        assert found[0] == found[1]
        assert found[0][0] is not tw.TrainwrightError


def press(folder, *, times, hold=False):
    """Ctrl-C once the run has logged, so often; `hold`: the ranks are to hang."""
    while not any(path.stat().st_size for path in folder.glob("metrics.jsonl")):
        time.sleep(0.01)
    for entry in Path("/proc").iterdir() if hold else ():
        try:
            parent = (entry / "stat").read_text().rpartition(")")[2].split()[1]
            is_rank = b"ranks.rank" in (entry / "cmdline").read_bytes()
        except OSError:
            continue
        if int(parent) == os.getpid() and is_rank:
            os.kill(int(entry.name), signal.SIGSTOP)
    for _ in range(times):
        signal.raise_signal(signal.SIGINT)
        time.sleep(0.3)  # two signals at once are one


@pytest.mark.slow
def test_ctrl_c_gives_the_run_back_and_a_second_does_not_wait_for_ranks_that_hang(program, said):
    words = (*TWO, "trainer.steps=100000", "trainer.log_every=5")
    finger = threading.Thread(target=press, args=(program / "once",), kwargs={"times": 1})
    finger.start()
    run = tw.train(*words, "run.dir=once")
    finger.join()
    assert run.status == "stopped"
    assert said[-1].startswith(
        f"saved step {run.summary['step']}; go on: train trainer.resume=once"
    )
    settings = {"times": 2, "hold": True}
    finger = threading.Thread(target=press, args=(program / "twice",), kwargs=settings)
    finger.start()
    with pytest.raises(KeyboardInterrupt):
        tw.train(*words, "run.dir=twice")
    finger.join()

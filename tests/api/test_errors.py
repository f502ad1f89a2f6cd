"""What a user can mend is an exception with the lines that the commands print."""

import sys

import pytest

import trainwright as tw
from trainwright.cli.train import main

MISTAKES = {
    "a key that is not there": ("trainer.epoch=2",),
    "an option that is not there": ("model=cn",),
    "a value of another type": ("trainer.epochs=many",),
    "no override at all": ("mlp",),
    "a folder that is not there": ("data=folder", "data.path=none"),
    "a run that is not there": ("trainer.resume=none",),
}


@pytest.mark.parametrize("words", MISTAKES.values(), ids=MISTAKES)
def test_it_has_the_lines_of_the_command(program, capsys, monkeypatch, words):
    with pytest.raises(tw.TrainwrightError) as raised:
        tw.train(*words)
    monkeypatch.setattr(sys, "argv", ["train"])
    capsys.readouterr()
    with pytest.raises(SystemExit) as stop:
        main(list(words))
    assert capsys.readouterr().err == f"error: {raised.value}\n"
    assert stop.value.code == raised.value.exit_code
    assert len(str(raised.value).splitlines()) <= 5
    assert raised.value.__cause__ is None
    assert not (program / "outputs").exists()


def test_flags_and_what_is_no_text_are_refused(program):
    with pytest.raises(tw.ConfigError, match=r"--debug: flags are for the shell"):
        tw.train("--debug")
    with pytest.raises(tw.ConfigError, match=r"write settings as text"):
        tw.train({"trainer.epochs": 2})
    with pytest.raises(tw.ConfigError, match=r"call trainwright\.sweep"):
        tw.train("optimizer.lr=1e-3,1e-2")


def test_where_code_of_the_users_fails_its_traceback_is_the_cause(program):
    (program / "breaking.py").write_text(
        "from torch import nn\n"
        "class Net(nn.Module):\n"
        "    def __init__(self, *, num_outputs: int):\n"
        "        raise RuntimeError('it breaks')\n"
    )
    (program / "configs" / "model").mkdir(parents=True)
    (program / "configs" / "model" / "breaking.yaml").write_text("_target_: breaking.Net\n")
    with pytest.raises(tw.ConfigError, match=r"breaking\.py:4: raise") as raised:
        tw.train("model=breaking")
    assert "--debug" not in str(raised.value)
    assert isinstance(raised.value.__cause__, RuntimeError)


def test_a_run_that_cannot_be_found_is_told_without_torch(program):
    with pytest.raises(tw.ConfigError, match=r"nothing: there are no runs below outputs"):
        tw.load("nothing")
    with pytest.raises(tw.ConfigError, match=r"there are no sweeps"):
        tw.load_sweep("last")

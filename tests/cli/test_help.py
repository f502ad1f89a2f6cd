"""`train model=cnn --help` and `train --help keys`: every key, with what it is and takes."""

import subprocess
import sys

import pytest

from trainwright.cli.terminal.option_help import option_help, read_file, read_option
from trainwright.config.compose import keys_of, register_schema
from trainwright.config_folder import GROUPS, group_options

OPTIONS = [(group, option) for group in GROUPS for option in group_options(group)]


@pytest.mark.parametrize(("group", "option"), OPTIONS)
def test_every_key_of_the_shipped_configs_has_a_comment(group, option):
    found = read_option(group, option)
    assert found.about
    if group != "experiment":  # which sets keys of other groups
        assert [line.key for line in found.keys if not line.comment] == []


def test_so_do_the_keys_that_are_in_no_group():
    assert [line.key for line in read_file("train", "").keys if not line.comment] == []


@pytest.mark.parametrize("option", ["model=gan", "data=folder", "optimizer=muon", "trainer=gan"])
def test_the_keys_are_those_that_hydra_composes(option):
    register_schema()
    group, _, name = option.partition("=")
    sections = keys_of([option])
    composed = {
        f"{section}.{key}"
        for section, keys in sections.items()
        if section.split(".")[0] == group
        for key in keys
        if key not in ("_target_", "players")
    }
    headings = composed & set(sections)
    shown = {line.key for line in read_option(group, name).keys}
    assert composed - headings <= shown <= composed


def test_a_key_is_shown_with_its_default_type_range_and_comment():
    text = " ".join((option_help(["model=cnn", "trainer=gan"]) or "").split())
    assert "model.dropout=0.0 before each dense layer [a number]" in text
    assert "model.activation=relu relu, leaky_relu, gelu, silu, sigmoid, tanh model" in text
    assert "trainer.steps=3750 instead of epochs [a whole number, more than 0, or null]" in text
    assert "trainer.save_every=10% a checkpoint; 0: only at the end [a duration]" in text


def test_an_option_of_ones_own_is_explained_by_its_docstring(empty, run_main, monkeypatch):
    monkeypatch.syspath_prepend(empty)
    (empty / "own_for_help.py").write_text(
        "class Net:\n"
        '    """A net. Its `width` is that of all layers; `act` comes between."""\n'
        "    def __init__(self, *, width: int = 3, act: 'str | None' = None): 1 / 0\n"
        "1 / 0\n"
    )
    (empty / "configs" / "model").mkdir(parents=True)
    own = "# Mine.\n_target_: own_for_help.Net\nwidth: 5\nact: null\n"
    (empty / "configs" / "model" / "own.yaml").write_text(own)
    result = run_main("model=own", "--help")
    assert result.code == 0, result.err
    lines = [" ".join(line.split()) for line in result.out.splitlines()]
    assert lines[:2] == [
        "model=own: Mine.",
        "model.width=5 Its `width` is that of all layers; [a whole number]",
    ]


def test_an_option_that_there_is_not_is_named(run_main):
    result = run_main("--help", "model=cn")
    assert (result.code, result.out) == (2, "")
    assert "did you mean cnn?" in result.err


def test_all_keys_are_listed_without_importing_what_is_slow():
    code = (
        "import sys; from trainwright.cli.train import main\n"
        "try: main(['--help', 'keys'])\n"
        "except SystemExit as stop: assert not stop.code\n"
        "assert not {'torch', 'numpy', 'hydra', 'pydantic'} & set(sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    shown = [f"{group}={option}: " in done.stdout for group, option in OPTIONS]
    assert all(shown)
    assert "run.dir=null" in done.stdout
    assert max(map(len, done.stdout.splitlines())) <= 100

"""What needs no torch answers at once: help, version, the composed config, tab completion."""

import json
import re
import resource
import subprocess
import sys

import pytest

from trainwright import __version__
from trainwright.cli.help import help_text
from trainwright.config_folder import GROUPS, config_folder

SECONDS = 0.7

WATCHED = """
import json, sys
from trainwright.cli.train import main
sys.argv = ["train", *{arguments!r}]
try:
    main()
except SystemExit as stop:
    assert not stop.code, stop.code
heavy = {{"torch", "numpy", "sklearn", "matplotlib", "PIL", "safetensors"}} & set(sys.modules)
print("HEAVY", json.dumps(sorted(heavy)))
"""


@pytest.mark.parametrize(
    "arguments",
    [["--help"], ["--version"], ["--cfg", "job"], ["-sc", "query=bash"], ["trainer.epochs=ten"]],
    ids=" ".join,
)
def test_does_not_import_torch(arguments, empty, environment):
    refused = arguments == ["trainer.epochs=ten"]
    code = WATCHED.format(arguments=arguments)
    if refused:
        code = code.replace("assert not stop.code, stop.code", "assert stop.code == 2")
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=empty,
        env={**environment, "COMP_LINE": "train model=", "COMP_POINT": "12"},
        capture_output=True,
        text=True,
        check=True,
    )
    heavy = json.loads(done.stdout.split("HEAVY ")[1])
    assert heavy == []
    assert list(empty.iterdir()) == []


@pytest.mark.parametrize("arguments", [["--help"], ["--version"], ["--cfg", "job"]], ids=" ".join)
def test_answers_within_the_time_of_a_blink(arguments, run_train):
    # Computing time, not that of the clock on the wall: others use this machine too.
    def seconds():
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        assert run_train(*arguments).code == 0
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime

    assert any(seconds() < SECONDS for _ in range(3))


def test_help_lists_every_group_and_option_that_ships(run_main):
    text = run_main("--help").out
    for group in GROUPS:
        for path in (config_folder() / group).glob("*.yaml"):
            assert re.search(rf"^  {group} .*\b{path.stem}\b", text, re.MULTILINE), path
    assert max(len(line) for line in text.splitlines()) <= 200
    assert run_main("model=gan", "--help").out == text


def test_help_lists_options_of_ones_own(empty):
    (empty / "configs" / "model").mkdir(parents=True)
    (empty / "configs" / "model" / "mine.yaml").write_text("_target_: mine.Net\n")
    assert re.search(r"^  model .*\bmine\b", help_text(), re.MULTILINE)


def test_version(run_main):
    assert run_main("--version").out == f"trainwright {__version__}\n"


def test_cfg_shows_what_was_typed_on_either_side_of_it(run_main, empty):
    text = run_main("optimizer=sgd", "--cfg", "job", "seed=7").out
    assert "_target_: torch.optim.SGD" in text
    assert "seed: 7" in text
    package = run_main("--cfg", "job", "--package", "optimizer", "optimizer.lr=0.5").out
    assert "lr: 0.5" in package
    assert "seed" not in package
    assert list(empty.iterdir()) == []


def complete(run_main, monkeypatch, line, shell="bash"):
    monkeypatch.setenv("COMP_LINE", line)
    monkeypatch.setenv("COMP_POINT", str(len(line)))
    return run_main("-sc", f"query={shell}").out.split()


def test_completes_options_keys_and_ones_own_configs(run_main, monkeypatch, empty):
    (empty / "configs" / "model").mkdir(parents=True)
    (empty / "configs" / "model" / "mine.yaml").write_text("_target_: mine.Net\n")
    models = complete(run_main, monkeypatch, "train model=")
    assert {"model=cnn", "model=mlp", "model=gan", "model=mine"} <= set(models)
    keys = complete(run_main, monkeypatch, "train optimizer.")
    assert {"optimizer.lr=", "optimizer.betas.", "optimizer.weight_decay="} <= set(keys)
    assert complete(run_main, monkeypatch, "train model=gan data=mn") == ["data=mnist"]
    assert complete(run_main, monkeypatch, "train trainer.epo") == ["trainer.epochs="]
    assert "model=mine" in complete(run_main, monkeypatch, "train model=", "fish")
    assert "model=mine" in complete(run_main, monkeypatch, "train model=", "zsh")


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_scripts_install(shell, run_main):
    script = run_main("--shell-completion", f"install={shell}")
    assert script.code == 0
    assert "hydra_" in script.out
    assert "train" in script.out


def test_bash_completes_with_the_script_that_is_installed(empty, environment):
    bash = (
        'export PATH="$1:$PATH"; eval "$(train -sc install=bash)"; '
        'COMP_LINE="train model=r"; COMP_POINT=13; COMP_WORDS=(train model=r); COMP_CWORD=1; '
        'hydra_bash_completion; echo "${COMPREPLY[@]}"'
    )
    folder = str(sys.executable).rpartition("/")[0]
    done = subprocess.run(
        ["bash", "--norc", "-c", bash, "bash", folder],
        cwd=empty,
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.split() == ["model=resnet"]

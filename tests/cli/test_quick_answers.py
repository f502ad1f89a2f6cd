"""What needs no torch answers at once: help, version, the composed config, tab completion."""

import json
import re
import resource
import subprocess
import sys

import pytest

from trainwright import __version__
from trainwright.cli.terminal.help import help_text
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
    [
        ["--help"],
        ["--version"],
        ["--cfg", "job"],
        ["--complete", "bash", "train lr"],
        ["trainer.epochs=ten"],
    ],
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
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )
    heavy = json.loads(done.stdout.split("HEAVY ")[1])
    assert heavy == []
    assert list(empty.iterdir()) == []


@pytest.mark.slow  # computing time, which a machine that is busy stretches
@pytest.mark.parametrize("arguments", [["--help"], ["--version"], ["--cfg", "job"]], ids=" ".join)
def test_answers_within_the_time_of_a_blink(arguments, run_train):
    # Computing time, not that of the clock on the wall: others use this machine too.
    def seconds():
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        assert run_train(*arguments).code == 0
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime

    assert any(seconds() < SECONDS for _ in range(3))


def options_in(text, group):
    """The line of a group, and those that go on with it."""
    return re.search(rf"^  {group} .*(\n {{5,}}.*)*", text, re.MULTILINE)[0]


def test_help_lists_every_group_and_option_that_ships(run_main):
    text = run_main("--help").out
    for group in GROUPS:
        for path in (config_folder() / group).glob("*.yaml"):
            assert re.search(rf"\b{path.stem}\b", options_in(text, group)), path
    assert max(len(line) for line in text.splitlines()) <= 100
    assert run_main("--help", "optimizer.lr=3").out == text


def test_help_lists_options_of_ones_own(empty):
    (empty / "configs" / "model").mkdir(parents=True)
    (empty / "configs" / "model" / "mine.yaml").write_text("_target_: mine.Net\n")
    assert re.search(r"\bmine\b", options_in(help_text(), "model"))


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


def complete(run_main, *words):
    return run_main("--complete", "fish", *words).out.split()


def test_completes_options_keys_values_and_ones_own_configs(run_main, empty):
    (empty / "configs" / "model").mkdir(parents=True)
    (empty / "configs" / "model" / "mine.yaml").write_text("_target_: mine.Net\nnum_heads: 4\n")
    shipped = {path.stem for path in (config_folder() / "model").glob("*.yaml")}
    models = [f"model={option}" for option in sorted(shipped | {"mine"})]
    assert complete(run_main, "model=") == models
    assert complete(run_main, "mod") == ["model.", "model="]
    keys = complete(run_main, "optimizer.")
    assert {"optimizer.lr=", "optimizer.betas=", "optimizer.weight_decay="} <= set(keys)
    assert complete(run_main, "model=gan", "data=mn") == ["data=mnist"]
    assert complete(run_main, "-m", "model=mlp,m") == [
        f"model=mlp,{name}" for name in ("mine", "mlp_flow", "mlp_gan", "mlp_vae")
    ]
    assert complete(run_main, "optimizer=sgd", "optimizer.mom") == ["optimizer.momentum="]
    assert complete(run_main, "optimizer.mom") == []
    assert complete(run_main, "model=mine", "num_h") == ["model.num_heads="]
    assert complete(run_main, "model=mine", "model.num_heads=") == ["model.num_heads=4"]
    assert complete(run_main, "trainer.epo") == ["trainer.epochs="]
    assert complete(run_main, "trainer.precision=f") == [
        "trainer.precision=fp32",
        "trainer.precision=fp16",
    ]
    splits = ["federated.split=iid", "federated.split=dirichlet"]
    assert complete(run_main, "trainer=federated", "federated.split=") == splits
    assert complete(run_main, "~experi") == ["~experiment="]
    assert complete(run_main, "--he") == ["--help"]
    assert complete(run_main, "--cfg", "") == ["job", "hydra", "all"]
    assert complete(run_main, "data.root=") == []  # the shell completes files


def test_a_run_to_go_on_with_is_completed(run_main, empty):
    run = empty / "outputs" / "2026-01-02" / "030405-mlp-digits"
    run.mkdir(parents=True)
    (run / "summary.json").write_text("{}")
    path = ["trainer.resume=outputs/2026-01-02/030405-mlp-digits"]
    assert complete(run_main, "trainer.resume=") == path
    assert complete(run_main, "trainer.resume=out") == path
    assert complete(run_main, "trainer.resume=mlp") == path


@pytest.mark.parametrize("flag", ["--shell-completion", "-sc"])
def test_an_unknown_shell_is_named(flag, run_main):
    refused = run_main(flag, "install=tcsh")
    assert refused.code == 2
    assert "--shell-completion takes install=bash, install=zsh, install=fish" in refused.err

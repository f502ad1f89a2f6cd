"""Tab completion of run names, commands, keys and flags, asked for as each shell asks."""

import sys
from pathlib import Path

import pytest

from trainwright.cli.runs import COMMANDS, main

FOLDER = str(Path(sys.executable).parent)


@pytest.fixture
def here(tmp_path, write_run, monkeypatch):
    monkeypatch.chdir(tmp_path)
    day = Path("outputs/2026-01-02")
    write_run(day / "030405-mlp-mnist", accuracy=0.98)
    write_run(day / "030406-gan-mnist", objective="sliced_wasserstein")
    write_run(Path("outputs/2026-01-03/030406-gan-mnist"), objective="sliced_wasserstein")
    (tmp_path / "photo.png").write_bytes(b"")
    return tmp_path


def complete(capfd, *words):
    capfd.readouterr()
    main(["--complete", "fish", *words])
    return capfd.readouterr().out.split()


def test_commands_runs_keys_and_flags(here, capfd):
    assert set(COMMANDS) <= set(complete(capfd, ""))
    assert complete(capfd, "sh") == ["show"]
    runs = ["last", "2026-01-03/030406-gan-mnist", "2026-01-02/030406-gan-mnist"]
    assert complete(capfd, "sample", "")[:4] == [*runs, "030405-mlp-mnist"]
    assert complete(capfd, "sample", "0304") == ["030405-mlp-mnist"]
    assert complete(capfd, "show", "mlp") == ["030405-mlp-mnist"]
    listed = ["2026-01-02/030406-gan-mnist", "2026-01-02/030405-mlp-mnist"]
    assert complete(capfd, "show", "2026-01-02/03") == listed  # as `runs list` writes them
    assert complete(capfd, "show", "best:") == ["best:sliced_wasserstein", "best:accuracy"]
    assert complete(capfd, "diff", "last", "030405") == ["030405-mlp-mnist"]
    assert complete(capfd, "show", "last", "") == []
    assert complete(capfd, "sample", "last", "int") == ["interpolate="]
    assert complete(capfd, "sample", "last", "progress=") == ["progress=gif", "progress=webp"]
    assert "data=mnist" in complete(capfd, "evaluate", "last", "data=")
    assert complete(capfd, "evaluate", "mlp", "data.") == ["data.name="]
    assert "model=resnet" in complete(capfd, "list", "model=")
    assert complete(capfd, "fork", "mlp", "fr") == ["freeze="]
    assert complete(capfd, "fork", "mlp", "optimizer.") == ["optimizer.lr=", "optimizer.fused="]
    assert "data=kmnist" in complete(capfd, "fork", "last", "data=")
    assert "trainer.epochs=" in complete(capfd, "resume", "mlp", "trainer.")
    assert complete(capfd, "list", "status=f") == ["status=finished", "status=failed"]
    assert complete(capfd, "list", "--js") == ["--json"]
    accuracies = [f"--sort={part}/accuracy" for part in ("validation", "last")]
    assert complete(capfd, "list", "--sort=acc") == accuracies
    assert complete(capfd, "show", "--root", "outputs", "mlp") == ["030405-mlp-mnist"]
    assert complete(capfd, "show", "--root", "") == []
    assert complete(capfd, "report", "last", "o") == ["out="]
    assert complete(capfd, "--shell-completion", "install=z") == ["install=zsh"]
    assert complete(capfd, "nonsense", "") == []


def test_another_root_counts_and_hostile_names_are_harmless(here, capfd, write_run):
    write_run(here / "elsewhere" / "x\n\x1b[2J")
    write_run(here / "elsewhere" / "x1")
    assert complete(capfd, "show", "--root=elsewhere", "x") == ["x1"]
    write_run(here / "elsewhere" / "y $(touch gone)")
    main(["--complete", "bash", "runs show --root=elsewhere y"])
    assert capfd.readouterr().out == "y\\ \\$\\(touch\\ gone\\)\n"


@pytest.mark.parametrize(
    ("line", "completed"),
    [
        ("runs show 0304", ["030405-mlp-mnist"]),
        ("runs show best:acc", ["accuracy"]),  # bash has split at the colon
        ("runs sample last progress=", ["gif", "webp"]),
        ("runs export last format=onnx,", ["onnx,safetensors", "onnx,pt2", "onnx,hf"]),
        ("runs fork mlp data='km", ["kmnist"]),
        ("runs fork mlp 'data=km", ["data=kmnist"]),  # and at none within quotes
        ("runs li", ["list"]),
        ("runs show nothing", []),
    ],
)
def test_bash_hands_over_its_line_and_gets_what_it_has_to_put_there(line, completed, here, capfd):
    main(["--complete", "bash", line])
    assert capfd.readouterr().out.splitlines() == completed


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_scripts_are_printed(shell, call):
    assert "runs" in call("--shell-completion", f"install={shell}")[1]


def test_an_unknown_shell_is_named(call):
    code, _, err = call("--shell-completion", "install=tcsh")
    assert code == 2
    assert "install=fish" in err


def test_asking_imports_no_torch(here, imported_by):
    ((_, heavy),) = imported_by(["--complete", "zsh", "sample", ""])
    assert heavy == []

"""Where runs and data lie: what is typed of it counts, or is refused with what would."""

import contextlib
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

SMALL = ("trainer=smoke", "model.widths=[4]", "trainer.plots=false")


@pytest.fixture
def run_runs(empty, capfd, monkeypatch):
    from trainwright.cli.runs import main

    def call(*words):
        capfd.readouterr()
        with contextlib.suppress(SystemExit):
            main(list(words))
        return capfd.readouterr().out

    return call


def test_a_run_whose_folder_was_typed_is_listed_and_means_itself(run_main, run_runs, empty):
    assert run_main(*SMALL).code == 0
    assert run_main(*SMALL, "run.dir=two").code == 0
    assert run_main(*SMALL, "run.dir=outputs/three").code == 0
    table = run_runs("list")
    assert len(re.findall(r"finished", table)) == 3
    assert str(empty / "two") in run_runs("show", "wo")
    assert "two" not in run_runs("list", "--root=elsewhere"), "it is of ./outputs"
    assert "nothing to clean" in run_runs("clean")
    (empty / "two").rename(empty / "gone")
    assert len(re.findall(r"finished", run_runs("list"))) == 2


@pytest.mark.slow
def test_so_is_a_sweep(run_train, run_program, empty):
    from .conftest import TRAIN

    assert run_train("-m", *SMALL, "seed=0,1", "sweep.dir=mine/sweep").code == 0
    runs = TRAIN.with_name("runs")
    assert run_program(runs, "list").out.count("finished") == 2
    assert "sweep: " in run_program(runs, "sweep").out


@pytest.mark.parametrize(
    ("typed", "cure"),
    [
        ("hydra.run.dir=x", "run.dir=..."),
        ("hydra.job.chdir=true", "run.dir=..."),
        ("++hydra.output_subdir=x", "config.yaml"),
        ("-m seed=0,1 hydra.sweep.dir=x", "sweep.dir=..."),
    ],
)
def test_a_folder_of_hydras_is_refused_with_our_key(typed, cure, run_main, empty):
    result = run_main(*SMALL, *typed.split())
    assert result.code == 2
    assert cure in result.err
    assert list(empty.iterdir()) == []


@pytest.mark.parametrize(
    ("typed", "cures"),
    [
        ("model=cnn,mlp", ["train -m model=cnn,mlp"]),
        ("model.widths=8,4", ["train -m model.widths=8,4", "as a list: 'model.widths=[8,4]'"]),
    ],
)
def test_several_values_without_a_sweep_are_told_how_to_be_typed(typed, cures, run_main):
    result = run_main(typed)
    assert result.code == 2
    lines = result.err.splitlines()
    assert lines[0] == f"error: {typed}: these are several values, and one run takes one"
    assert all(line.endswith(cure) for line, cure in zip(lines[1:], cures, strict=True))


def test_of_a_folder_that_is_no_run_nobody_is_told_to_go_on_with_it(run_main, empty):
    (empty / "notes").mkdir()
    result = run_main(*SMALL, "run.dir=notes")
    assert result.code == 2
    assert result.err.startswith("error: run.dir=notes exists")
    assert "resume" not in result.err


@pytest.mark.parametrize("command", [["train"], ["runs", "list"]])
def test_a_working_directory_that_is_gone_is_told(command, tmp_path):
    line = f"cd {shlex.quote(str(tmp_path))} && mkdir gone && cd gone && rmdir ../gone && exec "
    program = Path(sys.executable).with_name(command[0])
    typed = ["bash", "-c", line + shlex.join([str(program), *command[1:]])]
    done = subprocess.run(typed, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr == (
        "error: the working directory does not exist any more\n  cd to one that does\n"
    )


def test_a_file_that_ones_own_data_lack_is_an_error_of_the_data(run_main, empty, monkeypatch):
    monkeypatch.syspath_prepend(empty)
    (empty / "points_for_places.py").write_text(
        "import numpy\nfrom trainwright.data.dataset import Dataset\n"
        "def load(*, path: str) -> Dataset:\n    return numpy.load(path)\n"
    )
    (empty / "configs" / "data").mkdir(parents=True)
    own = "_target_: points_for_places.load\npath: ???\n"
    (empty / "configs" / "data" / "points.yaml").write_text(own)
    result = run_main(*SMALL, "data=points", "data.path=missing.npz")
    assert result.code == 3, result.err
    assert "missing.npz: No such file" in result.err


def test_a_folder_with_only_a_test_split_is_told_what_is_missing(run_main, empty):
    (empty / "photos" / "test" / "cats").mkdir(parents=True)
    result = run_main(*SMALL, "data=folder", "data.path=photos")
    assert result.code == 3
    assert "holds test/ and no train/" in result.err


def test_a_run_that_is_stopped_draws_what_there_is(run_main, empty, monkeypatch):
    monkeypatch.syspath_prepend(empty)
    (empty / "stopping_net.py").write_text(
        "import signal\nfrom trainwright.nn.mlp import MLP\n"
        "class Net(MLP):\n    calls = 0\n    def forward(self, inputs):\n"
        "        Net.calls += self.training\n"
        "        if self.training and Net.calls == 3: signal.raise_signal(signal.SIGTERM)\n"
        "        return super().forward(inputs)\n"
    )
    long = ("trainer.steps=9", "trainer.plots=true", "run.dir=run")
    result = run_main(*SMALL, *long, "model._target_=stopping_net.Net")
    assert result.code == 143, result.err
    assert sorted(p.name for p in (empty / "run" / "plots").iterdir()) == ["curves.png", "lr.png"]

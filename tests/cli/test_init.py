"""`train init` writes a folder in which everything that its README says can be typed."""

import os
import subprocess
import sys

import pytest
import yaml

from trainwright.cli.init import FILES, README


def test_the_folder_trains_and_what_is_there_is_kept(run_main, empty):
    begun = run_main("init", "my project")
    assert begun.code == 0
    assert begun.out.endswith("next: cd 'my project' && train model=mine\n")
    folder = empty / "my project"
    assert all((folder / name).is_file() for name in FILES)
    (folder / "mine.py").write_text("# mine\n")
    again = run_main("init", "my project")
    assert (again.code, again.out) == (2, "")
    assert "is there already, and nothing was written" in again.err
    assert (folder / "mine.py").read_text() == "# mine\n"


@pytest.mark.parametrize("words", [("one", "two"), ("--here",), ("model=mlp",)])
def test_other_words_are_refused(run_main, empty, words):
    refused = run_main("init", *words)
    assert refused.code == 2
    assert "it takes one folder" in refused.err
    assert list(empty.iterdir()) == []


def test_here_it_trains_at_once_and_every_key_has_a_comment(run_main, empty):
    assert run_main("init").code == 0
    assert all("#" in line for line in FILES["configs/model/mine.yaml"].splitlines()[2:])
    assert yaml.safe_load(FILES["configs/model/mine.yaml"])["_target_"] == "mine.Net"
    assert len(README.splitlines()) <= 12
    words = ("trainer.steps=2", "trainer.plots=false", "trainer.threads=1", "model.width=8")
    trained = run_main("model=mine", *words)
    assert trained.code == 0, trained.err
    assert "parameters: model 610" in trained.out


@pytest.mark.slow
def test_its_own_test_passes(run_main, empty):
    assert run_main("init").code == 0
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"]
    environment = {k: v for k, v in os.environ.items() if not k.startswith("PYTEST")}
    subprocess.run(command, cwd=empty, env=environment, check=True, capture_output=True)

"""Whole commands: what is typed means what a person means, and what is printed can be typed."""

import os
import shlex

import pytest
from PIL import Image

from .conftest import TRAIN

NAMES = ["a=b, [c] {d}", "it's", "прогон", "2024", "~name"]
MORE = ["lr=0.1", "run (1)", "1e3", "true", "#tag", "tilde~", "a\\b", "x;y&z"]
SMALL = ("trainer=smoke", "model.widths=[4]", "trainer.plots=false")
GO_ON = "to go on with it: "


@pytest.mark.parametrize(
    "name", [*NAMES, *(pytest.param(name, marks=pytest.mark.slow) for name in MORE)]
)
def test_a_run_lands_in_the_folder_of_any_name_and_its_printed_command_goes_on(
    name, run_main, empty
):
    result = run_main(*SMALL, f"run.dir=./{name}")
    assert result.code == 0, result.err
    assert (empty / name / "summary.json").exists()
    told = run_main(f"trainer.resume=./{name}")
    assert told.code == 0, told.err
    (line,) = (part for part in told.out.splitlines() if GO_ON in part)
    program, *words = shlex.split(line.partition(GO_ON)[2])
    done = run_main(*words)
    assert (program, done.code, done.err) == ("train", 0, "")
    assert "resumed at step 2" in done.out


@pytest.mark.slow
@pytest.mark.parametrize("name", ["a=b, [c] {d}", "it's è", "tag~; #1 & $HOME"])
def test_it_does_so_in_a_shell(name, run_train, run_program):
    folder = f"./{name}"
    assert run_train(*SMALL, f"run.dir={folder}").code == 0
    line = run_train(f"trainer.resume={folder}").out.partition(GO_ON)[2].partition("\n")[0]
    path = f"{TRAIN.parent}:{os.environ['PATH']}"
    done = run_program("bash", "-c", line, PATH=path)
    assert (done.code, done.err) == (0, "")
    assert "resumed at step 2" in done.out


@pytest.fixture
def images(empty):
    """Makes a folder of two small classes."""

    def make(name):
        for label in ("cats", "dogs"):
            (empty / name / label).mkdir(parents=True)
            for number in range(10):
                Image.new("RGB", (8, 8), (number * 20, 9, 9)).save(
                    empty / name / label / f"{number}.png"
                )

    return make


@pytest.mark.parametrize("name", ["photos(1)", "it's", "1_000", "null", "~/фото", "./~name"])
def test_a_folder_of_images_may_have_any_name(name, run_main, images, monkeypatch, empty):
    monkeypatch.setenv("HOME", str(empty))
    images(name.removeprefix("~/"))
    typed = ("data=folder", f"data.path={name}", "data.size=8", "data.root=k=v")
    result = run_main(*SMALL, *typed)
    assert result.code == 0, result.err
    assert (empty / "k=v" / "folder-cache").is_dir()


def test_a_home_folder_of_nobody_is_a_name_where_there_is_such(run_main, empty):
    told = run_main(*SMALL, "run.dir=~nobody-of-this-name/run")
    assert told.code == 2
    assert "no user is called nobody-of-this-name" in told.err
    assert list(empty.iterdir()) == []
    (empty / "~nobody-of-this-name").mkdir()
    assert run_main(*SMALL, "run.dir=~nobody-of-this-name/run").code == 0
    assert (empty / "~nobody-of-this-name" / "run" / "summary.json").exists()


@pytest.mark.parametrize("key", ["data.path", "data.root", "run.dir", "run.root", "run.name"])
def test_a_path_that_is_empty_is_refused(key, run_main, empty):
    result = run_main(*SMALL, "data=folder", "data.path=.", f"{key}=")
    assert result.code == 2
    assert f"{key}= is empty" in result.err
    assert list(empty.iterdir()) == []


def test_so_is_one_that_the_environment_leaves_empty(run_main, empty, monkeypatch):
    monkeypatch.setenv("PHOTOS", "")
    result = run_main(*SMALL, "data=folder", "data.path=${oc.env:PHOTOS}")
    assert result.code == 2
    assert "data.path= is empty" in result.err
    assert list(empty.iterdir()) == []

"""The command as it is installed: its folders, and what it does alone in the world."""

import json
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from trainwright.config_folder import config_folder

ROOT = Path(__file__).parents[2]


def test_a_run_from_an_empty_directory_leaves_the_run_folder_and_nothing_else(run_train, empty):
    result = run_train("trainer=smoke")
    assert result.code == 0
    assert result.err == ""
    assert [path.name for path in empty.iterdir()] == ["outputs"]
    (run,) = empty.glob("outputs/*/*")
    assert run.name.endswith("-mlp-digits")
    assert {path.name for path in run.iterdir()} == {
        *("config.yaml", "overrides.txt", "summary.json", "metrics.jsonl", "train.log"),
        *("checkpoints", "samples", "plots", ".lock"),
    }
    assert (run / "overrides.txt").read_text() == "trainer=smoke\n"
    assert json.loads((run / "summary.json").read_text())["status"] == "finished"


@pytest.mark.slow
def test_a_disk_that_is_full_ends_with_6_and_a_message(run_program, empty):
    # No file may grow beyond 100 blocks of 1024 bytes: a checkpoint of the MLP has some 2 MB.
    train = Path(sys.executable).with_name("train")
    command = f"ulimit -f 100; exec {train} trainer=smoke run.dir=run"
    result = run_program("bash", "-c", command)
    assert result.code == 6, result.err
    assert "could not write run/checkpoints/best.safetensors" in result.err
    assert len(result.err.strip().splitlines()) <= 5
    assert list((empty / "run" / "checkpoints").iterdir()) == []


@pytest.fixture(scope="session")
def wheel(tmp_path_factory):
    folder = tmp_path_factory.mktemp("wheel")
    build = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(folder)]
    subprocess.run([*build, str(ROOT)], check=True, capture_output=True)
    (built,) = folder.glob("*.whl")
    return built


def test_the_wheel_holds_every_config_that_ships_and_no_test(wheel):
    names = zipfile.ZipFile(wheel).namelist()
    configs = {f"trainwright/configs/{p.relative_to(ROOT / 'configs')}" for p in all_configs()}
    assert configs <= set(names)
    assert not [name for name in names if name.startswith(("tests", "benchmarks", "outputs"))]


def all_configs():
    return sorted((ROOT / "configs").rglob("*.yaml"))


@pytest.mark.slow
def test_the_wheel_works_in_a_fresh_environment_and_an_empty_directory(
    wheel, tmp_path, environment
):
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", tmp_path / "venv"], check=True)
    (site,) = (tmp_path / "venv").glob("lib/python*/site-packages")
    # Everything but trainwright itself, which is installed there as editable, is shared.
    libraries = Path(pytest.__file__).parents[1]
    (site / "shared.pth").write_text(f"{libraries}\n")
    python = tmp_path / "venv" / "bin" / "python"
    install = ["-m", "pip", "install", "--quiet", "--no-deps", "--no-index", "--force-reinstall"]
    target = ["--target", str(site), str(wheel)]
    subprocess.run([python, *install, *target], check=True, capture_output=True)
    empty = tmp_path / "empty"
    empty.mkdir()
    code = "from trainwright.cli.train import main; main()"
    where = "from trainwright.config_folder import config_folder; print(config_folder())"

    def run(program, *arguments):
        return subprocess.run(
            [python, "-c", program, *arguments],
            cwd=empty,
            env=environment,
            capture_output=True,
            text=True,
            check=True,
        ).stdout

    assert Path(run(where).strip()) == site / "trainwright" / "configs" != config_folder()
    assert "test (best weights)" in run(code, "trainer=smoke", "model=gan", "model.width=4")
    assert "digits" in run(code, "--help")
    assert [path.name for path in empty.iterdir()] == ["outputs"]

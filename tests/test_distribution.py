"""What is given to others: a wheel and an sdist, the same to the byte whoever builds them."""

import hashlib
import os
import shutil
import subprocess
import sys
import tarfile
import zipfile
from email.parser import Parser
from pathlib import Path

import pytest

import trainwright

ROOT = Path(__file__).parents[1]
PARTS = ("src", "configs", "docs", "pyproject.toml", "README.md", "CHANGELOG.md", "LICENSE")

pytestmark = pytest.mark.slow


def built(source, out):
    """The wheel and the sdist of a copy, whose files have times of their own."""
    source.mkdir(parents=True)
    for part in PARTS:
        copy = shutil.copytree if (ROOT / part).is_dir() else shutil.copy
        copy(ROOT / part, source / part)
    for path in source.rglob("*.py"):
        os.utime(path)
    command = [sys.executable, "-m", "hatchling", "build", "-d", str(out)]
    subprocess.run(command, cwd=source, check=True, capture_output=True)
    return sorted(out.iterdir())


@pytest.fixture(scope="module")
def twice(tmp_path_factory):
    folder = tmp_path_factory.mktemp("distribution")
    return [built(folder / name / "source", folder / f"{name}-out") for name in ("one", "other")]


def test_two_builds_are_the_same_to_the_byte(twice):
    one, other = [[hashlib.sha256(p.read_bytes()).hexdigest() for p in paths] for paths in twice]
    assert len(one) == 2
    assert one == other


def test_the_wheel_has_what_is_needed_and_nothing_else(twice):
    wheel = zipfile.ZipFile(twice[0][0])
    names = set(wheel.namelist())
    (info,) = {name.split("/")[0] for name in names if ".dist-info/" in name}
    assert {name.split("/")[0] for name in names} == {"trainwright", "hydra_plugins", info}
    package = ROOT / "src" / "trainwright"
    files = {p for p in package.rglob("*") if p.is_file() and "__pycache__" not in p.parts}
    assert {str(p.relative_to(package.parent)) for p in files} <= names  # assets, py.typed
    assert f"{info}/licenses/LICENSE" in names
    assert not [name for name in names if name.endswith((".pyc", ".safetensors"))]
    points = wheel.read(f"{info}/entry_points.txt").decode()
    assert "runs = trainwright.cli.process:runs" in points
    told = Parser().parsestr(wheel.read(f"{info}/METADATA").decode())
    assert told["Version"] == trainwright.__version__
    assert told["Requires-Python"] == ">=3.11"
    assert "Typing :: Typed" in told.get_all("Classifier")
    assert told["Description-Content-Type"] == "text/markdown"


def test_what_is_in_the_wheel_trains_and_lists_from_an_empty_folder(twice, tmp_path):
    zipfile.ZipFile(twice[0][0]).extractall(site := tmp_path / "site")
    (folder := tmp_path / "empty").mkdir()
    script = (
        "import sys; from importlib.metadata import distribution; import trainwright\n"
        f"assert trainwright.__file__.startswith({str(site)!r})\n"
        "points = distribution('trainwright').entry_points\n"
        "points.select(group='console_scripts')[sys.argv.pop(1)].load()()"
    )
    for words, shown in (["train", "trainer.steps=2"], "best: step 2"), (["runs", "list"], "mlp"):
        done = subprocess.run(
            [sys.executable, "-c", script, *words],
            cwd=folder,
            env={**os.environ, "PYTHONPATH": str(site)},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        assert shown in done.stdout


def test_the_sdist_builds_the_same_wheel(twice, tmp_path):
    with tarfile.open(twice[0][1]) as archive:
        archive.extractall(tmp_path, filter="data")
    (source,) = tmp_path.iterdir()
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)]
    subprocess.run(command, cwd=source, check=True, capture_output=True)
    (wheel,) = tmp_path.glob("*.whl")
    assert wheel.read_bytes() == twice[0][0].read_bytes()

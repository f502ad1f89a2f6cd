"""`import trainwright` offers the Python face, and costs next to nothing."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

import trainwright

PAGE = Path(__file__).parents[2] / "docs" / "api.md"


def python(code):
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)


def test_importing_it_imports_nothing_heavy():
    heavy = "{'torch', 'numpy', 'hydra', 'omegaconf', 'pydantic', 'pandas', 'IPython'}"
    told = python(f"import trainwright, sys; print({heavy} & set(sys.modules))").stdout
    assert told == "set()\n"


def test_runs_and_load_do_not_import_torch(program):
    code = "import trainwright as tw, sys; print(tw.runs()); print('torch' in sys.modules)"
    assert python(code).stdout == "no runs in outputs\nFalse\n"


@pytest.mark.parametrize("first", ["trainwright.runs.find", "trainwright.sweep.store"])
def test_folders_of_the_same_name_do_not_hide_the_functions(first):
    code = f"import {first}, trainwright as tw; print(tw.runs.__name__, tw.sweep.__name__)"
    assert python(code).stdout == "runs sweep\n"


def test_all_that_is_public_is_there_and_on_the_page():
    public = PAGE.read_text().partition("## What is public")[2]
    assert all(getattr(trainwright, name).__doc__ for name in trainwright.__all__)
    assert set(trainwright.__all__) <= set(dir(trainwright))
    errors = {n for n in trainwright.__all__ if n.endswith("Error")}
    named = set(re.findall(r"\w+", public))
    assert set(trainwright.__all__) - errors <= named
    assert errors <= set(re.findall(r"\w+", PAGE.read_text()))


def test_what_is_not_there_is_an_attribute_error():
    with pytest.raises(AttributeError, match="no attribute 'trian'"):
        trainwright.trian  # noqa: B018


@pytest.mark.slow
def test_a_strict_user_is_told_the_types(tmp_path):
    (tmp_path / "mine.py").write_text(
        "import trainwright as tw\n"
        "run = tw.train('model=mlp')\n"
        "reveal_type(run.predict([1]).probabilities)\n"
        "reveal_type(tw.runs('model=mlp')[0])\n"
        "reveal_type(tw.sweep('seed=0,1').best)\n"
        "reveal_type(run.sample(2).images)\n"
        "reveal_type(run.model)\n"
    )
    command = [sys.executable, "-m", "mypy", "--strict", "--cache-dir", str(tmp_path), "mine.py"]
    told = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert told.returncode == 0, told.stdout
    revealed = re.findall(r'Revealed type is "([^"]+)"', told.stdout)
    assert "dtype[numpy.floating" in revealed[0] or "float32" in revealed[0]
    assert revealed[1:3] == ["trainwright.api.run.Run"] * 2
    assert "ndarray" in revealed[3]
    assert revealed[4] == "torch.nn.modules.module.Module"

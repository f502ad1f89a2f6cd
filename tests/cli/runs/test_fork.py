"""`runs fork` at the shell: what is refused at once, and a life of forks."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from trainwright.config_folder import group_options
from trainwright.engine.checkpoint import checkpoint

RUNS = Path(sys.executable).with_name("runs")


def test_mistakes_are_refused_by_name(call, write_run, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_run(tmp_path / "outputs" / "2026-01-02" / "030405-mlp-mnist")
    wrong = {
        "frieze=layers": (2, "frieze: there is no such key; did you mean freeze?"),
        "optimzer.lr=1": (2, "optimzer.lr: there is no such key; did you mean optimizer.lr?"),
        "trainer.resume=x": (2, "a fork is a new run"),
        "checkpoint=first": (2, "checkpoint=first: it must be one of best, last"),
        "freeze=layers,,": (2, "freeze=layers,,: it must be words with commas between them"),
        "seed=1": (4, "has no checkpoint"),
    }
    for word, (code, told) in wrong.items():
        found, out, err = call("fork", "last", word)
        assert (found, out) == (code, ""), word
        assert told in err, word
    assert call("fork", "mlpp", "seed=1")[0] == 2
    assert [p.name for p in (tmp_path / "outputs").iterdir()] == ["2026-01-02"]


@pytest.fixture
def runs(environment, tmp_path):
    def start(*arguments, code=0):
        done = subprocess.run(
            [RUNS, *arguments],
            cwd=tmp_path,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == code, done.stderr
        assert "Traceback" not in done.stderr
        return done.stdout, done.stderr

    return start


def newest(folder):
    return max((p for p in folder.rglob("summary.json")), key=lambda p: p.stat().st_mtime).parent


@pytest.mark.slow
@pytest.mark.timeout(1200)  # a dozen processes that import torch, one after the other
def test_a_fork_on_other_data_is_shown_gone_on_with_forked_and_swept(real_root, runs, tmp_path):
    parent = real_root / "2026-11-22" / "100000-mlp-digits"
    before = {p: p.read_bytes() for p in parent.rglob("*") if p.is_file()}
    for name, shade in (("dark", 20), ("light", 220)):
        folder = tmp_path / "photos" / name
        folder.mkdir(parents=True)
        for number in range(20):
            Image.new("L", (9, 8), shade + number).save(folder / f"{number}.png")

    photos = ("data=folder", "data.path=photos", "data.size=8", "data.channels=1", "data.root=kept")
    _, err = runs("fork", parent, *photos, "freeze=layers.1", "old_lr=0.5", code=2)
    assert "old_lr=0.5 has no effect" in err
    _, err = runs("fork", parent, "schedule=consant", code=2)
    assert err.splitlines() == [
        "error: schedule=consant: there is no such option; did you mean constant?",
        f"  schedule accepts: {', '.join(group_options('schedule'))}",
    ]
    out, _ = runs("fork", parent, *photos, "freeze=layers.1", "schedule=constant")
    assert "fork of 100000-mlp-digits, step" in out
    assert "taken, frozen  1,040 numbers: layers.1" in out
    assert "begins anew       34 numbers: layers.3" in out
    fork = newest(tmp_path / "outputs")
    assert fork.name.endswith("-mlp-folder")
    out, _ = runs("show", fork)
    assert "fork of  100000-mlp-digits, step" in out
    assert "typed    data=folder data.path=photos" in out

    out, _ = runs("resume", fork, "trainer.steps=4")
    assert "resumed at step 2" in out
    runs("verify", fork)
    _, err = runs("resume", fork, "fork.freeze=[]", "trainer.steps=9", code=2)
    assert "fork.freeze: cannot be changed" in err

    out, _ = runs("fork", fork, "-m", "optimizer.lr=1e-2,1e-3", "seed=5", "old_lr=0.1,1")
    assert "sweep: 4 jobs" in out
    again = out.split("again: ")[1]
    assert again.startswith(f"runs fork {fork}/checkpoints/best.safetensors ")
    job = newest(tmp_path / "outputs" / "sweeps")
    lineage = checkpoint.load(job / "checkpoints" / "last.safetensors")[1]["lineage"]
    assert lineage["name"] == "mlp-folder"
    assert [older["name"] for older in lineage["ancestors"]] == ["100000-mlp-digits"]
    assert lineage == json.loads((job / "summary.json").read_text())["lineage"]
    assert {p: p.read_bytes() for p in parent.rglob("*") if p.is_file()} == before


def test_the_layers_that_may_be_frozen_are_shown_and_completed(call, real_root):
    _, out, _ = call("show", "mlp", f"--root={real_root}")
    lines = [line.split() for line in out.splitlines()]
    assert ["layers", "(2)"] in lines
    assert ["layers.1", "bias", "16", "weight", "16x64"] in lines
    assert ["layers.3", "bias", "10", "weight", "10x16"] in lines
    _, out, _ = call("--complete", "fish", "fork", f"--root={real_root}", "mlp", "freeze=")
    assert out.split() == ["freeze=layers.1", "freeze=layers.3"]
    _, out, _ = call("--complete", "fish", "fork", f"--root={real_root}", "gan", "freeze=disc")
    assert "freeze=discriminator.head" in out.split()

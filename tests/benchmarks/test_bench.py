"""The benchmark itself, on drawn images, with the sides that need no other library."""

import json
import subprocess
import sys

import pytest


def bench(folder, *arguments):
    from measure import HERE

    return subprocess.run(
        [sys.executable, "bench.py", "--quick", "--results", str(folder / "r.jsonl"), *arguments],
        cwd=HERE,
        capture_output=True,
        text=True,
        check=False,
    )


def test_an_unknown_name_is_refused_with_those_that_there_are(monkeypatch, capsys):
    from bench import main

    monkeypatch.setattr(sys, "argv", ["bench.py", "--only", "mlp65"])
    with pytest.raises(SystemExit) as stop:
        main()
    assert stop.value.code == 2
    assert "mlp65 is not one of small64, mlp64, " in capsys.readouterr().err


@pytest.mark.slow
def test_the_bare_loop_learns_the_drawn_patterns():
    import torch
    from gate import OpenGate
    from generated import draw
    from images import Images
    from job import Job
    from peers import bare
    from works import WORKS

    torch.manual_seed(0)
    for work in (WORKS["mlp64"], WORKS["cnn128"]):
        images, classes = draw(512, work.shape, seed=0)
        inputs = (images.float() - 100) / 60
        data = Images(inputs, classes, inputs, classes)
        predict = bare.classify(Job(work, data, epochs=6, fast=True, gate=OpenGate()))
        assert (predict(inputs).argmax(1) == classes).float().mean() > 0.9


@pytest.mark.slow
def test_results_are_kept_and_not_measured_twice(tmp_path, monkeypatch):
    monkeypatch.setenv("TRAINWRIGHT_DATA", str(tmp_path))  # no MNIST: images are drawn
    monkeypatch.setenv("https_proxy", "http://127.0.0.1:9")
    words = ["--only", "mlp64", "--settings", "fp32", "--sides", "ours,bare"]
    first = bench(tmp_path, *words)
    assert first.returncode == 0, first.stderr
    records = [json.loads(line) for line in (tmp_path / "r.jsonl").read_text().splitlines()]
    assert [r["kind"] for r in records] == ["turns", "whole", "whole"]
    assert set(records[0]["images_per_second"]) == {"ours", "bare"}
    assert bench(tmp_path, *words).returncode == 0
    assert len((tmp_path / "r.jsonl").read_text().splitlines()) == 3

"""The smaller benchmarks run, and what they say has the right form."""

import json
import re
import subprocess
import sys

import pytest


def run_script(*arguments):
    from measure import HERE

    ended = subprocess.run(
        [sys.executable, *arguments], cwd=HERE, capture_output=True, text=True, check=False
    )
    assert ended.returncode == 0, ended.stderr
    return ended.stdout


def test_a_job_beside_others_counts_its_steps():
    import time

    from parallel import steps_a_second

    assert steps_a_second(time.time(), seconds=0.2) > 0


@pytest.mark.slow
def test_scaling_compares_sizes_and_places():
    shown = run_script("scaling.py", "--counts", "2000,4000")
    assert re.search(r"^ +2,000 ", shown, re.M)
    assert re.search(r"^ +4,000 ", shown, re.M)
    assert re.search(r"a step on 4,000 images takes [\d.]+ times one on 2,000", shown)
    assert re.search(r"train at [\d.]+ of the speed in memory", shown)


def test_stored_images_are_those_in_the_file(tmp_path):
    import numpy as np
    from generated import draw, load_stored

    images, classes = draw(3000, (1, 28, 28), seed=0)
    np.save(tmp_path / "few.images.npy", images.numpy())
    np.save(tmp_path / "few.classes.npy", classes.numpy())
    for mapped in (False, True):
        data = load_stored(path=str(tmp_path / "few.npy"), mapped=mapped)
        assert [len(split) for split in (data.train, data.validation, data.test)] == [2994, 3, 3]
        assert data.train.columns["inputs"].equal(images[:2994])
        assert data.test.columns["targets"].equal(classes[2997:])


@pytest.mark.slow
def test_streaming_compares_memory_and_a_mapped_file(tmp_path):
    shown = run_script("streaming.py", "--folder", str(tmp_path / "big"), "--gigabytes", "0.05")
    assert re.search(r"^mapped: [\d.]+ ms a step, [\d.]+ reads$", shown, re.M)
    assert re.search(r"mapped is [\d.]+ times as fast", shown)


def test_steps_are_timed_from_the_first_that_counts_to_the_last(monkeypatch):
    """By the side of cuda_graph.py that is ours, on a CPU."""
    import cuda_graph

    monkeypatch.setattr(cuda_graph, "NUM_IMAGES", 600)
    clock = cuda_graph.Clock(2, 6)
    cuda_graph.ours("auto", "cpu", clock, 6)
    assert clock.steps_a_second > 0


@pytest.mark.slow
def test_without_a_cuda_device_it_says_that_in_one_line():
    import torch
    from measure import HERE

    if torch.cuda.is_available():
        pytest.skip("there is a CUDA device")
    ended = subprocess.run(
        [sys.executable, "cuda_graph.py"], cwd=HERE, capture_output=True, text=True, check=False
    )
    assert ended.returncode == 1
    expected = "benchmarks/cuda_graph.py needs a CUDA device, and torch finds none here\n"
    assert (ended.stdout, ended.stderr) == ("", expected)


@pytest.mark.slow
def test_stacks_are_compared_with_one_after_the_other_and_drawn(tmp_path, monkeypatch):
    import stack
    import stack_workers

    monkeypatch.setattr(stack, "RESULTS", tmp_path / "stack.jsonl")
    monkeypatch.setattr(stack, "TURNS", 1)
    monkeypatch.setattr(stack_workers, "MOST_BY_OTHERS", 100.0)
    stack.measure_steps(["small_fp32"], [1, 3], cores=2)
    rows = [json.loads(line) for line in (tmp_path / "stack.jsonl").read_text().splitlines()]
    assert [row["count"] for row in rows] == [1, 3]
    for row in rows:  # of one turn, so that the ratio is that of the figures
        assert row["ratio"] == pytest.approx(row["alone_ms"] / row["stacked_ms"], rel=0.1)
    stack.plot(tmp_path / "stack.jsonl", tmp_path / "stack.png")
    assert (tmp_path / "stack.png").stat().st_size > 0


@pytest.mark.slow
def test_cifar_compares_steps_and_trainings(tmp_path):
    import numpy as np
    from PIL import Image

    for number, pixels in enumerate(np.random.default_rng(0).integers(0, 256, (400, 32, 32, 3))):
        split, label = ("train", "test")[number % 2], str(number % 5)
        (tmp_path / "images" / split / label).mkdir(parents=True, exist_ok=True)
        image = Image.fromarray(pixels.astype(np.uint8))
        image.save(tmp_path / "images" / split / label / f"{number}.png")
    words = [
        "data=folder", f"data.path={tmp_path / 'images'}", f"data.root={tmp_path}",
        "data.validation=20", "trainer.batch_size=50", "trainer.epochs=2", "model.widths=[8,8,8]",
    ]  # fmt: skip
    shown = run_script("cifar.py", "steps", "--rounds", "2", *words)
    assert re.search(r"^batch 50: ours [\d.]+ s a step, by hand [\d.]+ s .* ratio", shown, re.M)
    shown = run_script("cifar.py", "train", *words)
    assert re.search(r"^ours, seed 0: [\d.]+% of the test images, [\d.]+ s of", shown, re.M)
    assert re.search(r"^by hand, seed 0: [\d.]+% of the test images, [\d.]+ s of", shown, re.M)


@pytest.mark.slow
def test_many_gpus_are_slower_than_one_by_what_they_wait_for():
    shown = run_script("many_gpus.py")
    shares = [[int(cell) for cell in re.findall(r"(\d+)%", row)[-3:]] for row in shown.split("\n")]
    rows = [row for row in shares if len(row) == 3]
    assert len(rows) == 8
    assert all(100 >= eight >= sixty_four >= most > 0 for eight, sixty_four, most in rows)

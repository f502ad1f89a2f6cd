"""`experiment=cifar10_fast` from the shell, on a folder of a few images of CIFAR's shape."""

import json
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from trainwright.engine.checkpoint import checkpoint

RUNS = Path(sys.executable).with_name("runs")


@pytest.fixture
def photos(empty):
    """Ten classes of 32x32 colour images, 30 to learn and 10 to be measured on."""
    draw = np.random.default_rng(0)
    for split, count in (("train", 30), ("test", 10)):
        for label in range(10):
            folder = empty / "photos" / split / f"class{label}"
            folder.mkdir(parents=True)
            for number in range(count):
                pixels = draw.integers(0, 200, (32, 32, 3)) + 5 * label
                Image.fromarray(pixels.astype(np.uint8)).save(folder / f"{number}.png")
    return empty / "photos"


@pytest.mark.slow
def test_the_recipe_trains_resumes_and_predicts_from_the_shell(run_train, run_program, photos):
    """Made longer after its third step, it is to the bit the run that was as long at once."""
    words = (
        "experiment=cifar10_fast", "data=folder", f"data.path={photos}", "data.root=cache",
        "data.validation=20", "trainer.batch_size=100", "trainer.epochs=null",
        "trainer.schedule_until=6", "trainer.threads=1", "trainer.precision=bf16",
    )  # fmt: skip
    assert run_train(*words, "trainer.steps=6", "run.dir=whole").code == 0
    assert run_train(*words, "trainer.steps=3", "run.dir=parts").code == 0
    assert run_train("trainer.resume=parts", "trainer.steps=6").code == 0
    here = photos.parent
    whole, parts = (
        checkpoint.load(here / name / "checkpoints" / "last.safetensors")[0]
        for name in ("whole", "parts")
    )
    assert whole.keys() == parts.keys()
    assert [name for name in whole if not whole[name].equal(parts[name])] == []
    summary = json.loads((here / "whole" / "summary.json").read_text())
    assert summary["status"] == "finished"
    for tta, is_same in (("mirror_shift", True), ("none", False)):
        result = run_program(RUNS, "evaluate", "whole", f"tta={tta}", "resamples=0", "--json")
        loss = json.loads(result.out)["metrics"]["loss"]["value"]
        assert (loss == summary["test"]["loss"]) == is_same
    result = run_program(RUNS, "predict", "whole", "photos/test/class3", "--csv")
    assert len(result.out.splitlines()) == 1 + 10

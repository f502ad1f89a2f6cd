"""Data of a user's own as they come: NumPy's, of any shape and type; images of any channels."""

import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from trainwright.inference.export.folder import export
from trainwright.inference.trained import load_trained

CODE = """
import numpy as np
import torch
from trainwright.data.dataset import Dataset
from trainwright.data.splits import split_arrays


def cubes(*, channels: int = 4, split_seed: int = 0) -> Dataset:
    generator = torch.Generator().manual_seed(0)
    classes = torch.arange(120) % 2
    images = torch.randint(0, 120, (120, channels, 8, 8), generator=generator)
    images = images + 100 * classes[:, None, None, None]
    names = ["low", "high"]
    return split_arrays(
        "cubes", images.to(torch.uint8), classes, class_names=names, split_seed=split_seed
    )


def points(*, kind: str, split_seed: int = 0) -> Dataset:
    generator = torch.Generator().manual_seed(split_seed)
    x = torch.randn(120, 2, generator=generator)
    inputs, targets = x, (x[:, 0] > 0).long()
    if kind == "numpy":
        inputs, targets = x.numpy(), targets.numpy()
    elif kind == "column":
        targets = targets[:, None]
    elif kind == "value column":
        targets = x[:, :1] * 1e4
    elif kind == "float images":
        inputs = torch.rand(120, 1, 8, 8)
    elif kind == "channels last":
        inputs = np.random.default_rng(0).integers(0, 255, (120, 8, 8, 3), dtype=np.uint8)
    elif kind == "no channel":
        inputs = (torch.rand(120, 8, 8) * 255).to(torch.uint8)
    elif kind == "unequal":
        targets = targets[:-5]
    elif kind == "nan":
        x[3, 1] = float("nan")
    elif kind == "nan target":
        targets = x[:, 0].clone()
        targets[7] = float("inf")
    return split_arrays("points", inputs, targets, split_seed=split_seed)
"""
BRIEF = ("run.dir=run", "trainer.epochs=1")


@pytest.fixture
def project(empty):
    (empty / "loaders.py").write_text(CODE)
    folder = empty / "configs" / "data"
    folder.mkdir(parents=True)
    (folder / "cubes.yaml").write_text("_target_: loaders.cubes\nchannels: 4\n")
    (folder / "points.yaml").write_text("_target_: loaders.points\nkind: numpy\n")
    return empty


@pytest.mark.parametrize("channels", [2, 4])
def test_a_classifier_of_images_of_any_channels_is_trained_and_drawn(channels, project, run_main):
    result = run_main("data=cubes", f"data.channels={channels}", "model=cnn", *BRIEF)
    assert result.code == 0, result.err
    assert {path.name for path in (project / "run" / "plots").iterdir()} == {
        "confusion.png", "curves.png", "lr.png", "predictions.png",
    }  # fmt: skip


GAN = ("data=cubes", "data.channels=5", "model=gan", "model.width=4", "trainer.steps=2",
       "trainer.score_samples=0", "run.dir=run")  # fmt: skip


def test_a_gan_of_images_of_five_channels_is_trained_and_drawn(project, run_main):
    result = run_main(*GAN)
    assert result.code == 0, result.err
    for path in (project / "run").glob("*/*.png"):
        with Image.open(path) as picture:
            assert np.ptp(np.asarray(picture.convert("L"))) > 0, path
    assert (project / "run" / "samples" / "000002.png").exists()
    assert (project / "run" / "plots" / "interpolation.png").exists()


@pytest.mark.slow
def test_the_example_of_such_a_gan_draws_what_a_screen_can_show(project, run_main):
    assert run_main(*GAN, "trainer.plots=false").code == 0
    trained = load_trained(project / "run" / "checkpoints" / "last.safetensors")
    export(trained, "run", ["safetensors"], project / "exported")
    example = [sys.executable, project / "exported" / "example.py"]
    done = subprocess.run(example, capture_output=True, text=True, check=False)
    assert done.stdout == "samples.png\n", done.stderr
    with Image.open("samples.png") as picture:
        assert (picture.mode, picture.size) == ("RGB", (32, 32))


@pytest.mark.parametrize(
    "kind", ["numpy", "column", "value column", "float images", "channels last", "no channel"]
)
def test_arrays_whose_meaning_is_plain_are_taken(kind, project, run_main):
    task = ("task=regression",) if kind == "value column" else ()
    plain = (*task, "trainer.plots=false", *BRIEF)
    result = run_main("data=points", f"data.kind={kind}", "model=mlp", *plain)
    assert result.code == 0, result.err


@pytest.mark.parametrize(
    ("kind", "code", "said"),
    [
        ("value column", 2, "points has values; use task=regression"),
        ("unequal", 3, "points: 120 of inputs, 115 of targets"),
        ("nan", 3, "points: inputs holds values that are not finite (NaN or infinite)\n"
                   "  in row 4, column 2\n"),
        ("nan target", 3, "points: targets holds values that are not finite (NaN or infinite)\n"
                          "  in row 8, column 1\n"),
    ],
)  # fmt: skip
def test_arrays_of_no_plain_meaning_are_refused_in_words(kind, code, said, project, run_main):
    result = run_main("data=points", f"data.kind={kind}", "model=mlp", *BRIEF)
    assert result.code == code
    assert said in result.err
    assert "Traceback" not in result.err
    assert not (project / "run" / "checkpoints").exists()

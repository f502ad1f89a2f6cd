"""`runs sample` of a flow and a VAE: how, at what cost, edits, rows; and what they refuse."""

import csv
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from trainwright.inference.other_data import _looked_at, load_data
from trainwright.inference.trained import load_trained

SMALL = ("trainer=smoke", "task.score=none")


@pytest.fixture(scope="module")
def flows(train, tmp_path_factory):
    """A flow of images, one of rows, one with shortcuts, and a VAE, of two steps each."""
    root = tmp_path_factory.mktemp("flows")
    train(root / "images", "model=flow", "data=digits", "model.width=8", "task.steps=2", *SMALL)
    train(root / "rows", "model=mlp_flow", "data=tabular", "data.name=iris", *SMALL)
    short = ("model=mlp_flow", "data=digits", "model.widths=[8]", "task=shortcut")
    train(root / "short", *short, *SMALL)
    codes = ("model=vae", "data=digits", "model.width=8", "model.latent_dim=2")
    train(root / "codes", *codes, "trainer.plots=true", *SMALL)
    return root


@pytest.fixture
def here(flows, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return flows


def test_it_says_what_an_image_has_cost_and_names_the_file_by_what_was_asked(call, here):
    asked = ("steps=3", "guidance=2", "sampler=midpoint", "class=3,4", "n=4", "format=npy")
    code, out, err = call("sample", here / "images", *asked, "out=made")
    assert code == 0, err
    assert "12 evaluations of the network an image (3 steps of midpoint, guidance 2)" in err
    first, classes = out.split()
    assert first.endswith("-class3-4-samplermidpoint-steps3-guidance2.0.npy")
    assert np.load(classes).tolist() == [3, 4, 3, 4]
    _, again, _ = call("sample", here / "images", *asked[:-2], "n=2", "format=npy", "out=made")
    assert np.load(again.split()[0]) == pytest.approx(np.load(first)[:2], abs=1e-5)


def test_strips_and_edits_are_made_as_asked(call, here):
    Image.new("L", (20, 30), 90).save("photo.png")
    for words, cost in (
        (("interpolate=3", "n=2", "steps=1", "guidance=1"), "1 evaluation of"),
        (("edit=photo.png", "strength=0.3", "n=2", "steps=2"), "3 evaluations of"),
    ):
        code, out, err = call("sample", here / "images", *words)
        assert code == 0, err
        assert cost in err
        assert Path(out.strip()).stem.endswith(("guidance1.0", "-edit-photo-strength0.3"))
        with Image.open(out.strip()) as picture:
            assert picture.width == (152 if "interpolate=3" in words else 102)


def test_a_shortcut_takes_the_steps_that_it_has_learned(call, here):
    code, _, err = call("sample", here / "short", "steps=1", "n=2")
    assert code == 0, err
    assert "1 evaluation of the network an image (1 step of shortcut)" in err


def test_a_hole_is_filled_and_all_around_it_stays(call, here):
    pixels = np.random.default_rng(0).integers(0, 256, (8, 8), dtype=np.uint8)
    Image.fromarray(pixels).save("photo.png")
    hole = np.zeros((8, 8), np.uint8)
    hole[2:6, 2:6] = 255
    Image.fromarray(hole).save("hole.png")
    words = ("edit=photo.png", "mask=hole.png", "n=3", "format=npy", "class=3")
    code, out, err = call("sample", here / "images", *words)
    assert code == 0, err
    assert "-class3-edit-photo-mask-hole.npy" in out
    made = np.load(out.split()[0])[:, 0]
    around = hole == 0
    assert (np.rint(made * 255)[:, around] == pixels[around]).all()
    assert len({image.tobytes() for image in made}) == 3


def test_rows_are_written_as_a_table(call, here):
    code, _, err = call("sample", here / "rows", "n=6", "out=rows.csv")
    assert code == 0, err
    with Path("rows.csv").open() as file:
        header, *rows = csv.reader(file)
    assert header[-1] == "class"
    assert [row[-1] for row in rows] == ["setosa", "versicolor", "virginica"] * 2
    assert all(np.isfinite([float(cell) for cell in row[:-1]]).all() for row in rows)


def test_a_vae_draws_what_it_has_learned_and_the_way_between_two_images(call, here):
    sizes = {}
    for path in (here / "codes" / "plots").glob("*.png"):
        with Image.open(path) as picture:
            sizes[path.stem] = picture.size
    assert sizes["reconstructions"] == (502, 202)  # ten images a row, two rows above two
    assert sizes["latent_plane"] == (802, 802)
    assert "interpolation" in sizes
    for name, grey in (("a.png", 20), ("b.png", 200)):
        Image.new("L", (8, 8), grey).save(name)
    code, out, err = call("sample", here / "codes", "between=a.png,b.png", "n=5")
    assert code == 0, err
    assert out.strip().endswith("-n5-seed0-between-a-b.png")
    with Image.open(out.strip()) as picture:
        assert picture.width == 252


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (("images", "steps=0"), "steps=0 is below 1"),
        (("images", "sampler=euller"), "did you mean euler?"),
        (("images", "edit=photo.png"), "edit=photo.png: "),
        (("images", "interpolate=3", "edit=photo.png"), "edit: this run takes"),
        (("images", "mask=hole.png"), "mask=hole.png is of edit=photo.png; give both"),
        (("images", "sampler=shortcut"), "runs fork RUN task=shortcut"),
        (("short", "steps=3"), "a shortcut has learned 1, 2, 4, 8, 16;"),
        (("images", "sampler=ancestral"), "sampler=ancestral is of diffusion models"),
        (("codes", "between=a.png"), "it takes two images"),
        (("codes", "steps=3"), "steps: there is no such key"),
        (("rows", "interpolate=3"), "makes rows, not images"),
        (("rows", "format=npy"), "is for images, and this run makes up a table"),
    ],
)
def test_what_cannot_be_is_refused_in_words(call, here, words, why):
    run, *asked = words
    code, out, err = call("sample", here / run, *asked)
    assert (code, out) == (2, "")
    assert why in err


def test_other_features_than_in_training_are_learned_only_where_the_classes_are_others(here):
    """A VAE that is told of no class is scored by a network that has learned the classes."""
    trained = load_trained(here / "codes" / "checkpoints" / "best.safetensors")
    assert load_data(trained, []).info == trained.info
    for part in ("one", "two", "three"):
        Path(part).mkdir()
        for number in range(9):
            Image.new("L", (8, 8), 9 * number).save(f"{part}/{number}.png")
    other = load_data(trained, ["data=folder", "data.path=."])
    assert other.info.targets == ()
    (learned,) = trained.info.targets
    twice = trained.info.with_column("again", trained.info.columns[learned])
    twice = replace(twice, targets=(learned, "again"))  # other data with one more target
    assert _looked_at(trained, twice).targets == ()

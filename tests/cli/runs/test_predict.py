"""`runs predict`: image files in, classes and probabilities out; as in training."""

import csv
import io
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from trainwright.data.batches import Batches
from trainwright.data.images.listing import list_images
from trainwright.data.sources.digits import load_digits_dataset
from trainwright.inference.export.folder import portable
from trainwright.inference.trained import load_trained

pytestmark = pytest.mark.numeric


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    """Twenty test digits as PNG files, in two folders."""
    folder = tmp_path_factory.mktemp("photos")
    (folder / "deeper").mkdir()
    for number, image in enumerate(load_digits_dataset().test.columns["inputs"][:20]):
        where = folder / "deeper" if number >= 15 else folder
        Image.fromarray(image[0].numpy()).save(where / f"{number:02d}.png")
    (folder / "notes.txt").write_text("no image")
    (folder / ".hidden.png").write_text("no image")
    return folder


def test_the_probabilities_are_those_of_the_batches_of_training(call, real_root, photos):
    code, out, _ = call("predict", "mlp", photos, "--csv", f"--root={real_root}")
    assert code == 0
    rows = sorted(csv.DictReader(io.StringIO(out)), key=lambda row: row["file"][-6:])
    found = np.array([[float(row[str(c)]) for c in range(10)] for row in rows])
    trained = load_trained(next(real_root.glob("*/*mlp*/checkpoints/best.safetensors")))
    split = load_digits_dataset().test
    batches = Batches(
        split, trained.task.columns, batch_size=64, seed=0, device=torch.device("cpu")
    )
    batch = next(batches.in_order(20))
    with torch.no_grad(), trained.placement.autocast():
        logits = trained.task.evaluate(batch)["logits"]
    np.testing.assert_allclose(found, torch.softmax(logits, 1).numpy(), atol=2e-5)
    assert [int(row["class"]) for row in rows] == logits.argmax(dim=1).tolist()


def test_views_asked_for_are_averaged_whatever_the_run_was_trained_with(call, real_root, photos):
    words = ("predict", "mlp", photos, "--csv", f"--root={real_root}")
    trained = load_trained(next(real_root.glob("*/*mlp*/checkpoints/best.safetensors")))
    images = load_digits_dataset().test.columns["inputs"][:20].float()
    scale, shift = trained.task.columns["inputs"].numbers.tensors(4, torch.device("cpu"))
    with torch.no_grad():
        logits = [trained.task.model(x * scale + shift) for x in (images, images.flip(3))]
    tables = [call(*words, *more)[1] for more in ((), ("tta=none",), ("tta=mirror",))]
    rows = sorted(csv.DictReader(io.StringIO(tables[2])), key=lambda row: row["file"][-6:])
    found = np.array([[float(row[str(c)]) for c in range(10)] for row in rows])
    expected = torch.softmax((logits[0] + logits[1]) / 2, 1).numpy()
    np.testing.assert_allclose(found, expected, atol=2e-5)
    assert tables[0] == tables[1]
    assert tables[0] != tables[2]


def test_the_precision_is_said_and_chosen(call, real_root, photos):
    """In fp32 the probabilities are those of an export; in bf16 they differ, and it says so."""
    words = ("predict", "mlp", photos, "--csv", f"--root={real_root}")
    code, exact, err = call(*words, "precision=fp32")
    assert code == 0
    assert "computed in" not in err
    trained = load_trained(next(real_root.glob("*/*mlp*/checkpoints/best.safetensors")))
    images = load_digits_dataset().test.columns["inputs"][:20]
    with torch.no_grad():
        expected = torch.softmax(portable(trained)(images), 1).numpy()
    found = {}
    code, rounded, err = call(*words, "precision=bf16")
    assert code == 0
    assert "computed in bf16; precision=fp32 is what an export says\n" in err
    for precision, out in (("fp32", exact), ("bf16", rounded)):
        rows = sorted(csv.DictReader(io.StringIO(out)), key=lambda row: row["file"][-6:])
        found[precision] = np.array([[float(row[str(c)]) for c in range(10)] for row in rows])
    np.testing.assert_allclose(found["fp32"], expected, atol=2e-5)
    assert 1e-4 < np.abs(found["bf16"] - expected).max() < 2e-2


@pytest.mark.parametrize("word", ["precision=fp64", "precision=fp16"])
def test_a_precision_that_there_is_not_is_refused(call, real_root, photos, word):
    if word == "precision=fp16" and torch.cuda.is_available():
        pytest.skip("this machine has it")
    code, _, err = call("predict", "mlp", photos, word, f"--root={real_root}")
    assert code == 2
    assert err.startswith(f"error: {word}")


@pytest.mark.parametrize(
    ("command", "run", "word", "message"),
    [
        ("evaluate", "gan", "tta=mirror", "this run is a GAN"),
        ("evaluate", "mlp", "tta=mirrored", "mirror_shift"),
        ("predict", "mlp", "tta=flip", "mirror_shift"),
    ],
)
def test_views_that_make_no_sense_are_refused(call, real_root, photos, command, run, word, message):
    words = [photos] if command == "predict" else []
    code, _, err = call(command, run, *words, word, f"--root={real_root}")
    assert code == 2
    assert message in err


def test_lines_of_json_name_the_likeliest_classes(call, real_root, photos):
    words = (photos / "03.png", photos / "04.png", "top=2", "--jsonl")
    code, out, _ = call("predict", "mlp", *words, f"--root={real_root}")
    rows = [json.loads(line) for line in out.splitlines()]
    assert code == 0
    assert [row["file"] for row in rows] == [str(photos / "03.png"), str(photos / "04.png")]
    for row in rows:
        assert next(iter(row["top"])) == row["class"]
        assert len(row["top"]) == 2
        assert row["probability"] == max(row["top"].values())


def test_the_table_has_a_line_a_file(call, real_root, photos):
    code, out, _ = call("predict", "mlp", photos, f"--root={real_root}")
    lines = out.splitlines()
    assert code == 0
    assert lines[0].split() == ["FILE", "CLASS", "PROBABILITY", "NEXT"]
    assert len(lines) == 21


def test_other_sizes_and_modes_are_brought_to_that_of_training(call, real_root, photos, tmp_path):
    with Image.open(photos / "00.png") as image:
        image.resize((80, 80), Image.Resampling.NEAREST).convert("RGB").save(tmp_path / "large.png")
    _, out, _ = call(
        "predict", "mlp", tmp_path / "large.png", photos / "00.png", "--jsonl",
        f"--root={real_root}",
    )  # fmt: skip
    large, small = (json.loads(line) for line in out.splitlines())
    assert large["class"] == small["class"]


def test_bad_files_are_named_after_all_others_are_predicted(call, real_root, photos, tmp_path):
    good = photos / "00.png"
    torn = tmp_path / "torn.png"
    torn.write_bytes(good.read_bytes()[:60])
    code, out, err = call("predict", "mlp", torn, good, "--jsonl", f"--root={real_root}")
    assert code == 3
    assert [json.loads(line)["file"] for line in out.splitlines()] == [str(good)]
    assert "1 of 2 files" in err
    assert "torn.png: " in err
    skipped = call("predict", "mlp", torn, good, "on_bad=skip", "--jsonl", f"--root={real_root}")
    assert skipped[0] == 0
    assert skipped[1] == out
    assert "skipped 1 of 2 files" in skipped[2]


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["nowhere.png"], 3, "there is no such file or folder"),
        (["top=3"], 2, "predict what?"),
        (["photos", "top=0"], 2, "top=0"),
        (["photos", "topp=1"], 2, "topp: there is no such key; did you mean top?"),
        (["empty"], 3, "holds no PNG, JPEG or WebP images"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_mistakes_are_named(words, code, said, call, real_root, photos, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "photos").symlink_to(photos)
    (tmp_path / "empty").mkdir()
    result = call("predict", "mlp", *words, f"--root={real_root}")
    assert result[0] == code
    assert said in result[2]


def test_a_gan_says_what_it_can_do_instead(call, real_root, photos):
    code, _, err = call("predict", "gan", photos, f"--root={real_root}")
    assert code == 2
    assert "it is a GAN\n  try: runs sample" in err


def test_a_link_out_of_a_folder_is_not_followed(call, real_root, photos, tmp_path):
    """Nor is it when a run is trained on such a folder."""
    folder = shutil.copytree(photos, tmp_path / "photos")
    outside = next(folder.glob("*.png")).rename(tmp_path / "outside.png")
    (folder / "link.png").symlink_to(outside)
    code, out, err = call("predict", "mlp-digits", folder, f"--root={real_root}")
    assert code == 0
    assert "link.png" not in out
    assert err == (
        f"left out of {folder}: 1 (a link that leads out of the folder), "
        "1 (not a PNG, JPEG or WebP image)\n"
    )


def test_what_is_an_image_is_told_as_in_training(call, real_root, photos, tmp_path):
    """By content, and by the name where that says image; backup copies are none."""
    folder = tmp_path / "a" / "photos"
    folder.mkdir(parents=True)
    with Image.open(photos / "00.png") as image:
        for name, form in [
            ("1.png", "png"), ("2.jfif", "jpeg"), ("3", "jpeg"), ("4.data", "webp"),
            ("5.JPG", "jpeg"), ("6.png~", "png"), ("7.orig", "jpeg"), ("8.gif", "gif"),
            (".9.png", "png"),
        ]:  # fmt: skip
            image.save(folder / name, format=form)
    (folder / "notes").write_text("no image")
    (folder / "inner").mkdir()
    shutil.copy(photos / "01.png", folder / "inner" / "0")
    (folder / "link").symlink_to(folder / "inner")
    code, out, err = call("predict", "mlp-digits", folder, "--jsonl", f"--root={real_root}")
    taken = {str(Path(json.loads(line)["file"]).relative_to(folder)) for line in out.splitlines()}
    assert code == 0
    assert taken == {"1.png", "2.jfif", "3", "4.data", "5.JPG", "inner/0"}
    assert "2 (not a PNG, JPEG or WebP image)" in err
    assert "2 (a backup copy)" in err
    assert "1 (a link to a folder)" in err
    (folder / "link").unlink()
    shutil.rmtree(folder / "inner")
    listing = list_images(folder.parent)
    assert {Path(file.name).name for file in listing.splits["train"]} == taken - {"inner/0"}
    assert len(listing.bad) == len(listing.backups) == 2

"""`runs explain`: what a person types and sees, of images, rows and tables; what is refused."""

import base64
import json

import numpy as np
import pytest
import torch
from PIL import Image
from sklearn.datasets import load_wine

from trainwright.inference.trained import load_trained

pytestmark = pytest.mark.numeric
FEW = ("repeats=2", "resamples=5")


@pytest.fixture(scope="module")
def root(train, tmp_path_factory):
    """An outputs folder with a network of convolutions on digits, and one on wine."""
    root = tmp_path_factory.mktemp("explained")
    smoke = ("trainer=smoke", "trainer.ema=null", "trainer.precision=fp32")
    train(root / "cnn", *smoke, "model=cnn", "model.channels=[4]", "model.dense=[8]")
    train(root / "wine", *smoke, "model=mlp", "model.widths=[8]", "data=tabular", "data.name=wine")
    return root


@pytest.fixture(autouse=True)
def _here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def test_of_an_image_there_is_a_picture_with_each_method_over_it(call, root, tmp_path):
    digit = np.zeros((8, 8), dtype=np.uint8)
    digit[1:7, 4] = 255
    Image.fromarray(digit).save(tmp_path / "one.png")
    code, out, err = call("explain", "cnn", "one.png", "output=1", "out=why", f"--root={root}")
    assert (code, err) == (0, "")
    lines = out.splitlines()
    assert lines[1].split()[:2] == ["one.png", "1"]
    assert lines[1].endswith("why/001-one.png")
    methods = ("integrated gradients", "occlusion", "Grad-CAM")
    assert [line.split("  ")[0] for line in lines[4:7]] == list(methods)
    with Image.open("why/001-one.png") as picture:
        assert picture.size[0] > 1000
        colours = np.asarray(picture.convert("RGB")).astype(int)
    # Somewhere there is red, beyond the greys of the image and of the letters.
    assert ((colours[..., 0] - colours[..., 2]) > 100).sum() > 1000


def test_json_has_every_number_and_they_add_up(call, root):
    code, out, _ = call("explain", "cnn", "n=2", "base=black", "--json", f"--root={root}")
    assert code == 0
    told = json.loads(out)
    assert len(told["examples"]) == len(told["pictures"]) == 2
    for one in told["examples"]:
        values = np.array(one["methods"]["integrated gradients"]["values"])
        assert values.shape == (8, 8)
        # Piecewise linear: of 64 nodes one at most is on the wrong side of each bend.
        difference = one["score"] - one["score_of_nothing"]
        assert values.sum() == pytest.approx(difference, abs=0.05 * max(1, abs(difference)))
        assert len(one["methods"]["Grad-CAM"]["deletion"]) == 21
    assert set(told["methods"]["occlusion"]) == {"correlation", "deletion", "at_random", "verdict"}


def test_rows_have_a_value_for_each_feature_that_sum_to_what_is_said(call, root, tmp_path):
    wine = load_wine()
    header = ",".join(wine.feature_names)
    (tmp_path / "new.csv").write_text(f"{header}\n{','.join(map(str, wine.data[100]))}\n")
    code, out, _ = call("explain", "wine", "new.csv", "samples=256", "--json", f"--root={root}")
    assert code == 0
    (one,) = json.loads(out)["examples"]
    assert one["features"] == list(wine.feature_names)
    values, errors = (one["methods"]["Shapley values"][k] for k in ("values", "standard_errors"))
    assert min(errors) >= 0
    assert sum(values) == pytest.approx(one["score"] - one["score_of_nothing"], abs=1e-4)
    # The score is the log-odds of the class, by the network itself.
    trained = load_trained(root / "wine" / "checkpoints" / "best.safetensors", device="cpu")
    column = trained.info.columns["inputs"]
    batch = {"inputs": column.preparation(torch.device("cpu"))(torch.tensor(wine.data[100:101]))}
    with torch.no_grad():
        probability = trained.task.predict(batch)["targets"].max().item()
    assert 1 / (1 + np.exp(-one["score"])) == pytest.approx(probability, abs=1e-5)


def test_a_table_is_explained_by_its_features_what_counts_most_first(call, root):
    code, out, err = call("explain", "wine", "top=4", *FEW, f"--root={root}")
    assert (code, err) == (0, "")
    lines = out.splitlines()
    assert lines[0].startswith("By how much accuracy, ")
    assert lines[1].split()[:2] == ["FEATURE", "IMPORTANCE"]
    assert lines[6] == "and 9 more features (top=...)"


@pytest.mark.parametrize(
    ("run", "how"), [("cnn", ("n=3", "out=why")), ("wine", ("repeats=1", "resamples=3"))]
)
def test_what_is_kept_is_in_the_report_with_its_step(call, root, tmp_path, run, how):
    call("report", run, "out=before.html", f"--root={root}")
    code, out, err = call("explain", run, *how, "--keep", f"--root={root}")
    assert (code, err) == (0, "")
    (picture,) = (root / run / "plots").glob("explained-*.png")
    assert out.splitlines()[-1] == f"kept for runs report: {picture}"
    call("report", run, "out=after.html", f"--root={root}")
    before, after = (
        json.loads((tmp_path / name).read_text().partition('id="data">')[2].partition("<")[0])
        for name in ("before.html", "after.html")
    )
    assert before["runs"][0]["explained"] is None
    encoded = base64.b64encode(picture.read_bytes()).decode()
    assert after["runs"][0]["explained"] == f"data:image/png;base64,{encoded}"
    trained = load_trained(root / run / "checkpoints" / "best.safetensors", device="cpu")
    assert after["runs"][0]["explained_step"] == trained.step


@pytest.mark.slow
def test_json_of_a_table_is_of_the_output_that_is_asked_for(call, root):
    code, out, _ = call("explain", "wine", "output=class_1", *FEW, "--json", f"--root={root}")
    assert code == 0
    told = json.loads(out)
    found = [feature["importance"] for feature in told["features"]]
    assert len(found) == 13
    assert found == sorted(found, reverse=True)
    assert {feature["output"] for feature in told["features"]} == {"class_1"}


@pytest.mark.parametrize(
    ("words", "code", "told"),
    [
        (("cnn", "output=seven"), 2, "there is no such output"),
        (("wine", "base=black"), 2, "base=... is for images, and has no effect on tables"),
        (("cnn", "samples=9"), 2, "samples=... is for rows, and has no effect on images"),
        (("wine", "none.csv"), 3, "none.csv: there is no such file"),
        (("cnn", "bad.png"), 3, "bad.png"),
        (("cnn", "bad.png", "n=3"), 2, "leave it out, or the files"),
        (("cnn", "bad.png", "--keep"), 2, "--keep is for images of the test split and for tables"),
        (("wine", "output=class_1", "--keep"), 2, "without output="),
    ],
)
def test_what_cannot_be_explained_is_said_and_nothing_is_written(
    call, root, tmp_path, words, code, told
):
    (tmp_path / "bad.png").write_text("no image")
    found, out, err = call("explain", *words, f"--root={root}")
    assert (found, out) == (code, "")
    assert told in err
    assert [path.name for path in tmp_path.iterdir()] == ["bad.png"]


def test_a_gan_is_said_by_name_to_have_nothing_to_explain(call, real_root):
    code, out, err = call("explain", "gan-digits", f"--root={real_root}")
    assert (code, out) == (2, "")
    assert "it is a GAN" in err
    assert "runs sample RUN" in err

"""`runs anomalies`: distances and areas are scikit-learn's, and what is strange comes first."""

import csv
import json

import numpy as np
import pytest
import torch
from PIL import Image
from sklearn.metrics import roc_auc_score
from sklearn.neighbors import NearestNeighbors
from torch.nn import functional

from trainwright.data.sources.digits import load_digits_dataset
from trainwright.inference.anomalies import auroc, score_of
from trainwright.inference.trained import in_order, load_trained

pytestmark = pytest.mark.numeric


@pytest.fixture(scope="module")
def classifier(real_root):
    return load_trained(next(real_root.glob("*/*mlp*/checkpoints/best.safetensors")))


@pytest.mark.parametrize("num_different", [3, 1000])
def test_the_area_is_that_of_scikit_learn_whether_or_not_scores_are_equal(num_different):
    generator = torch.Generator().manual_seed(0)
    labels = torch.rand(200, generator=generator) < 0.3
    scores = torch.randint(num_different, (200,), generator=generator) + labels
    assert auroc(scores.double(), labels) == pytest.approx(roc_auc_score(labels, scores))
    assert auroc(scores.double(), labels & False) is None


def test_features_are_what_the_last_layer_is_given(classifier):
    batch = next(iter(in_order(classifier, load_digits_dataset().test)))
    with torch.no_grad():
        features = classifier.task.features(batch)
        last = [m for m in classifier.task.model.modules() if isinstance(m, torch.nn.Linear)][-1]
        assert torch.equal(last(features), classifier.task.answer(batch))


@pytest.mark.parametrize("k", [1, 5])
def test_scores_are_distances_to_the_kth_neighbour(classifier, k):
    data = load_digits_dataset()
    score = score_of(classifier, data, "neighbours", k=k, num_reference=100)
    batch = next(iter(in_order(classifier, data.test)))
    with torch.no_grad():
        scores = score(batch)
        seen = [
            functional.normalize(classifier.task.features(b).double())
            for b in (batch, next(iter(in_order(classifier, data.train, limit=100))))
        ]
    assert len(seen[1]) == 100
    found, _ = NearestNeighbors(n_neighbors=k).fit(seen[1].numpy()).kneighbors(seen[0].numpy())
    # Squares of distances between unit vectors are sums of 16 products in float32, a rounding each;
    # a root makes an error of e one of sqrt(e) near zero.
    np.testing.assert_allclose(scores.numpy(), found[:, -1], atol=(40 * 2**-23) ** 0.5)


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    """Ten test digits, and ten images of noise, as PNG files."""
    folder = tmp_path_factory.mktemp("photos")
    digits = load_digits_dataset().test.columns["inputs"][:10, 0].numpy()
    noise = np.random.default_rng(0).integers(0, 256, (10, 8, 8)).astype(np.uint8)
    for name, images in (("digit", digits), ("noise", noise)):
        (folder / name).mkdir()
        for number, image in enumerate(images):
            Image.fromarray(image).save(folder / name / f"{name}{number}.png")
    return folder


def test_files_are_scored_and_written_the_strangest_first(call, real_root, photos, tmp_path):
    words = ("anomalies", "mlp", photos, f"--root={real_root}")
    code, out, err = call(*words, f"out={tmp_path / 'out'}", "top=3")
    assert code == 0, err
    assert len(out.splitlines()) == 7
    rows = list(csv.DictReader((tmp_path / "out" / "anomalies.csv").read_text().splitlines()))
    scores = [float(row["score"]) for row in rows]
    assert scores == sorted(scores, reverse=True)
    places = {"digit": [], "noise": []}
    for place, row in enumerate(rows):
        places["noise" if "noise" in row["example"] else "digit"].append(place)
    assert np.mean(places["noise"]) < np.mean(places["digit"])
    with Image.open(tmp_path / "out" / "strangest.png") as grid:
        assert grid.size[0] > 8 * 80  # eight tiles a row
    noisy = json.loads(call(*words[:2], photos / "noise", words[-1], "--json")[1])
    usual = json.loads(call(*words[:2], photos / "digit", words[-1], "--json")[1])
    assert noisy["auroc"] > usual["auroc"]
    assert all(0 <= e["stranger_than"] <= 1 for e in noisy["examples"])


def test_classes_that_were_not_learned_are_what_is_to_be_found(call, train, real_root, tmp_path):
    data = load_digits_dataset()
    images = data.train.columns["inputs"].numpy()[:, 0]
    targets = data.train.columns["targets"].numpy()
    few = targets < 6
    for name, kept in (("few", few), ("all", few | True)):
        np.savez(tmp_path / f"{name}.npz", x=images[kept], y=targets[kept].astype(str))
    arrays = ("data=arrays", f"data.path={tmp_path}/few.npz")
    train(tmp_path / "run", *arrays, "model=mlp", "model.widths=[32]", "trainer=smoke",
          "trainer.steps=200", "trainer.evaluate_every=100%", "optimizer.lr=3e-3")  # fmt: skip
    words = ("anomalies", tmp_path / "run", "data=arrays", f"data.path={tmp_path}/all.npz")
    code, out, err = call(*words, "--json")
    assert code == 0, err
    found = json.loads(out)
    scores, new = zip(*((e["score"], e["unknown_class"]) for e in found["examples"]), strict=True)
    assert found["auroc"] == pytest.approx(roc_auc_score(new, scores))
    assert found["auroc"] > 0.75
    assert found["interval"][0] < found["auroc"] < found["interval"][1]
    assert "of classes that the run has not learned" in call(*words)[1]


def test_a_gan_is_asked_what_it_holds_real(call, real_root):
    code, out, err = call("anomalies", "gan", "--json", f"--root={real_root}")
    assert code == 0, err
    trained = load_trained(next(real_root.glob("*/*gan*/checkpoints/best.safetensors")))
    task, data = trained.task, load_digits_dataset()
    batch = next(iter(in_order(trained, data.test)))
    images = batch["inputs"]
    with torch.no_grad(), trained.placement.autocast():
        by_class = torch.stack([
            task.model.discriminator(images, torch.full((len(images),), c)) for c in range(10)
        ])  # fmt: skip
    expected = -by_class.amax(dim=0)
    found = json.loads(out)["examples"]
    scores = torch.tensor([e["score"] for e in found]).sort().values[: len(expected)]
    torch.testing.assert_close(scores, expected.sort().values, atol=0.05, rtol=0.05)  # bf16


@pytest.mark.parametrize(
    ("words", "code", "told"),
    [
        (("mlp", "by=task"), 2, "classifier has no anomaly score"),
        (("mlp", "k=50", "reference=20"), 2, "only 20 training examples"),
        (("mlp", "split=tset"), 3, "has no such examples"),
        (("gan", "by=neighbours"), 2, "try by=task"),
        (("mlp", "missing.png"), 3, "there is no such file"),
    ],
)
def test_what_cannot_be_done_is_said(call, real_root, words, code, told):
    found = call("anomalies", *words, f"--root={real_root}")
    assert found[0] == code
    assert told in found[2]

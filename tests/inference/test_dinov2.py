"""Samples scored in the features of a DINOv2, beside transformers, Pillow and scipy by hand."""

import json

import numpy as np
import pytest
import torch
from PIL import Image
from scipy.linalg import sqrtm

from trainwright.cli.runs import main
from trainwright.inference.other_data import load_data
from trainwright.inference.trained import load_trained
from trainwright.nn.pretrained.dinov2 import MEAN, STD, Dinov2
from trainwright.run.judging.attach import attach_judge

transformers = pytest.importorskip("transformers")
pytestmark = [pytest.mark.slow, pytest.mark.numeric]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A DINOv2 that has learned nothing, as from_pretrained has it."""
    torch.manual_seed(0)
    config = transformers.Dinov2Config(
        hidden_size=16, num_hidden_layers=2, num_attention_heads=2, image_size=56, patch_size=14
    )
    path = tmp_path_factory.mktemp("dinov2")
    network = transformers.Dinov2Model(config)
    for parameter in network.parameters():  # what it sees then differs from image to image
        torch.nn.init.normal_(parameter, std=0.3)
    network.save_pretrained(path)
    return path


def runs(*words):
    """The exit code of the command."""
    with pytest.raises(SystemExit) as stop:
        main(list(map(str, words)))
    return stop.value.code or 0


def by_hand(folder, images):
    """The class tokens of images (N, C, H, W) uint8, resized by Pillow."""
    network = transformers.Dinov2Model.from_pretrained(folder).eval()
    resized = [
        Image.fromarray(image.transpose(1, 2, 0).squeeze()).convert("RGB").resize((224, 224), 3)
        for image in images
    ]
    values = (np.stack(resized) / 255 - MEAN) / STD
    with torch.no_grad():
        seen = network(torch.from_numpy(values).permute(0, 3, 1, 2).float())
    return seen.last_hidden_state[:, 0]


def test_its_features_are_the_class_tokens_of_images_resized_and_normalised_as_is_usual(folder):
    random = np.random.default_rng(0)
    network = Dinov2(folder).eval()
    for shape in ((40, 3, 32, 32), (3, 1, 28, 28), (2, 3, 300, 260)):
        shades = random.integers(0, 200, (*shape[:2], 1, 1))
        images = (shades + random.integers(0, 56, shape)).astype(np.uint8)
        with torch.no_grad():
            found = network(torch.from_numpy(images) / 255)
        # Pillow's weights are of 8 bits: a pixel may be a level off, of the 58 of a deviation.
        assert (found - by_hand(folder, images)).abs().max() < found.std(dim=0).max() / 58


def test_it_scores_the_samples_of_the_own_score_and_says_so(folder, train, tmp_path, capsys):
    small = ("model=mlp_vae", "data=digits", "data.limit=200", "trainer=smoke")
    run = train(tmp_path / "run", *small, "trainer.score_samples=60").folder
    words = ["split=validation", "resamples=0", f"dinov2={folder}"]
    assert runs("evaluate", run, *words, "--json") == 0
    score = json.loads(capsys.readouterr().out)["dinov2"]
    trained = load_trained(run / "checkpoints" / "best.safetensors")
    dataset = load_data(trained, [], "validation")
    attach_judge([trained.task], dataset, num_samples=60, device=torch.device("cpu"))
    samples = trained.task.judged().seen["samples"].numpy()
    real = dataset.train.columns["inputs"].numpy()
    a, b = (by_hand(folder, images).double().numpy() for images in (samples, real))
    roots = sqrtm(np.cov(a.T) @ np.cov(b.T)).real
    distance = ((a.mean(0) - b.mean(0)) ** 2).sum() + np.trace(
        np.cov(a.T) + np.cov(b.T) - 2 * roots
    )
    assert score["num_samples"] == 60
    assert score["features"].startswith("Dinov2-")
    assert score["figures"]["frechet"]["value"] == pytest.approx(distance, rel=0.02)
    assert 0 < score["figures"]["frechet"]["floor"] < distance
    assert runs("evaluate", run, *words) == 0
    out = capsys.readouterr().out
    own, _, theirs = out.partition("The same samples, in features of Dinov2-")
    assert own.count("Fréchet distance") == theirs.count("Fréchet distance") == 1


def test_what_cannot_be_is_refused(folder, train, tmp_path, capsys):
    small = ("model=mlp_vae", "data=digits", "data.limit=200", "trainer=smoke", "task.score=none")
    run = train(tmp_path / "run", *small).folder
    (tmp_path / "vit").mkdir()
    (tmp_path / "vit" / "config.json").write_text('{"model_type": "vit"}')
    for path, told in (
        (folder, "there are no samples to score"),
        (tmp_path / "nowhere", "is not the folder of a model"),
        (tmp_path / "vit", "model_type=vit is not"),
    ):
        assert runs("evaluate", run, f"dinov2={path}") == 2
        assert told in capsys.readouterr().err

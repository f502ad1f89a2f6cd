"""A VAE of a user's own: no labels, two parts of a loss, images shown and made up."""

import json
import runpy
import sys

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

from trainwright.data.examples import all_of

CONFIGS = {
    "data/discs.yaml": "_target_: vae.discs\nnum_examples: 240\n",
    "task/variational.yaml": "_target_: vae.Variational\nbeta: 0.5\n",
    "model/vae.yaml": (
        "defaults: [override /task@_global_.task: variational, _self_]\n"
        "_target_: vae.VAE\nwidth: 16\ncode: 3\n"
    ),
}
TRAIN = (
    *("data=discs", "model=vae", "optimizer.lr=1e-2", "trainer.steps=8", "trainer.batch_size=16"),
    *("trainer.evaluate_every=4", "trainer.sample_every=4", "trainer.log_every=1"),
    *("trainer.ema=0.9", "trainer.threads=1"),
)
PARTS = ("reconstruction", "divergence")


def averaged(user, run, network):
    """The averaged weights of a run's best checkpoint in float64, of a network of two layers."""
    tensors = load_file(user.folder / run / "checkpoints" / "best.safetensors")
    place = f"averaged.model.{network}."
    layers = sorted({n.removeprefix(place).split(".")[0] for n in tensors if n.startswith(place)})
    return [[tensors[f"{place}{n}.{kind}"].double() for kind in ("weight", "bias")] for n in layers]


def through(layers, values):
    """The formula of two dense layers with a ReLU between them."""
    (weight1, bias1), (weight2, bias2) = layers
    return (values @ weight1.T + bias1).clamp(min=0) @ weight2.T + bias2


def test_it_learns_without_labels_and_logs_both_parts_of_its_loss(user, trained):
    lines = (user.folder / trained / "metrics.jsonl").read_text().splitlines()
    rows = [json.loads(line) for line in lines]
    assert rows[-1]["train/loss"] < rows[0]["train/loss"]
    for phase in ("train", "validation"):
        parts = [rows[-1][f"{phase}/{part}"] for part in PARTS]
        assert rows[-1][f"{phase}/loss"] == pytest.approx(parts[0] + 0.5 * parts[1], rel=1e-6)


def test_its_metrics_are_those_of_a_calculation_by_hand(user, trained):
    images = all_of(sys.modules["vae"].discs().test, "inputs").double().flatten(1) / 255
    mean, log_variance = through(averaged(user, trained, "encoder"), images).chunk(2, dim=1)
    pixels = through(averaged(user, trained, "decoder"), mean).sigmoid()
    likelihood = images * pixels.log() + (1 - images) * (1 - pixels).log()
    divergence = (mean**2 + log_variance.exp() - log_variance - 1).sum(dim=1) / 2
    told = user.summary(trained)["test"]
    assert told["reconstruction"] == pytest.approx(-float(likelihood.sum(dim=1).mean()), rel=1e-5)
    assert told["divergence"] == pytest.approx(float(divergence.mean()), rel=1e-5)


def test_stopped_and_resumed_it_is_to_the_bit_the_run_that_was_not(user, trained, resumed):
    assert user.has_the_bits_of(resumed, trained)
    one, two = ((user.folder / run / "metrics.jsonl").read_text() for run in (trained, resumed))
    assert one == two
    one, two = (
        (user.folder / run / "samples" / "000008.png").read_bytes() for run in (trained, resumed)
    )
    assert one == two


def test_it_shows_originals_above_reconstructions(user, trained):
    with Image.open(user.folder / trained / "samples" / "000008.png") as image:
        width, height = image.size
        pixels = np.asarray(image.convert("L"), dtype=float)
    assert width > 3.5 * height, "two rows of eight"
    top, bottom = pixels[: height // 2], pixels[height // 2 :]
    assert top.max() == 255, "discs are white in their middle"
    assert bottom.std() < top.std(), "what eight steps reconstruct is a blur"


def test_it_is_evaluated(user, trained):
    said = user.runs("evaluate", trained, "--json")
    assert said.code == 0, said.err
    told = json.loads(said.out)["metrics"]
    assert set(told) == {"loss", *PARTS}
    for name, metric in told.items():
        assert metric["value"] == pytest.approx(user.summary(trained)["test"][name])
        low, high = metric["interval"]
        assert low < metric["value"] < high


@pytest.mark.parametrize(("learned", "other"), [("whole", "digits"), ("labelled", "discs")])
def test_it_is_evaluated_on_other_data_with_labels_and_without(user, trained, learned, other):
    if not (user.folder / learned).exists():
        user.train("data=digits", "trainer.steps=2", f"run.dir={learned}")
    said = user.runs("evaluate", learned, f"data={other}", "--json")
    assert said.code == 0, said.err
    told = json.loads(said.out)["metrics"]
    assert set(told) == {"loss", *PARTS}
    assert told["loss"]["value"] != pytest.approx(user.summary(learned)["test"]["loss"])


def test_it_makes_up_images_from_a_seed_alone(user, trained):
    said = user.runs("sample", trained, "n=5", "seed=7", "format=npy,png", "out=drawn")
    assert said.code == 0, said.err
    (numbers,) = (user.folder / "drawn").glob("*.npy")
    codes = torch.randn(5, 3, generator=torch.Generator().manual_seed(7)).double()
    expected = through(averaged(user, trained, "decoder"), codes).sigmoid().reshape(5, 1, 8, 8)
    assert np.load(numbers) == pytest.approx(expected.numpy(), abs=1e-5)
    assert numbers.with_suffix(".png").exists()


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (("predict", "whole", "drawing.png"), "this run does not predict: it is a variational"),
        (("sample", "whole", "interpolate=4"), "this run does not interpolate"),
        (("sample", "whole", "class=1"), "this run was not told of classes"),
    ],
)
def test_what_it_has_no_method_for_is_refused_in_words(user, trained, words, why):
    Image.new("L", (8, 8)).save(user.folder / "drawing.png")
    said = user.runs(*words)
    assert said.code == 2
    assert why in said.err
    assert len(said.err.splitlines()) <= 5


def test_its_page_has_a_panel_a_part_and_what_it_has_shown(user, trained):
    (run,) = user.page(trained)["runs"]
    panels = {panel["title"]: panel["series"] for panel in run["panels"]}
    for part in ("loss", *PARTS):
        assert [line["phase"] for line in panels[part]] == ["train", "validation"]
    assert [sample["step"] for sample in run["samples"]] == [4, 8]


def test_exported_it_is_the_decoder_and_the_example_uses_it(user, trained, capsys, monkeypatch):
    said = user.runs("export", trained, "out=weights")
    assert said.code == 0, said.err
    facts = json.loads((user.folder / "weights" / "model.json").read_text())
    assert facts["inputs"][0]["shape"] == ["batch", 3]
    assert facts["network"]["part"] == "decoder"
    assert "scale" not in facts["normalisation"], "codes are not pixels"
    script = user.folder / "weights" / "example.py"
    monkeypatch.syspath_prepend(user.folder)
    monkeypatch.setattr(sys, "argv", ["example.py", "0.5", "-1", "2"])
    found = runpy.run_path(str(script))
    assert capsys.readouterr().out.startswith("tensor([[[[")
    codes = torch.tensor([[0.5, -1, 2]])
    expected = through(averaged(user, trained, "decoder"), codes.double())
    assert torch.allclose(found["model"](codes).flatten(1).double(), expected, atol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("form", ["pt2", "onnx"])
def test_exported_as_a_graph_it_maps_codes_to_pixels(user, trained, form):
    said = user.runs("export", trained, f"format={form}", f"out=graph-{form}")
    assert said.code == 0, said.err
    assert "of the run's own outputs" in said.out


def test_labels_do_not_disturb_it(user):
    said = user.train("data=digits", "trainer.steps=2", "run.dir=digits")
    assert said.code == 0, said.err
    assert set(user.summary("digits")["test"]) == {"loss", *PARTS}


@pytest.mark.slow
def test_data_without_images_are_refused_in_words(user):
    said = user.train("data=tabular", "run.dir=never")
    assert said.code == 2
    assert "task=variational needs images, and breast_cancer has none" in said.err
    assert not (user.folder / "never").exists()


@pytest.mark.slow
def test_a_sweep_ranks_it_by_its_loss_and_says_why_it_is_not_stacked(user):
    said = user.train("-m", "model.code=1,3", "sweep.stack=on")
    assert said.code == 0, said.err
    assert "alone: 2 jobs: only trainwright's own models are stacked, not vae.VAE" in said.out
    assert "(validation/loss, lower is better)" in said.out

"""It learns: floors that a broken gradient, schedule, split or normalisation would not reach."""

import json

import pytest


def scores(folder):
    """The metrics of the test split."""
    return json.loads((folder / "summary.json").read_text())["test"]


@pytest.mark.parametrize("seed", [0, pytest.param(1, marks=pytest.mark.slow)])
def test_the_mlp_reads_95_percent_of_the_digits(train, tmp_path, seed):
    folder = train(tmp_path / "run", "model=mlp", "model.widths=[64]", "optimizer.lr=3e-3",
                   "trainer.epochs=8", "schedule=constant", f"seed={seed}").folder  # fmt: skip
    assert scores(folder)["accuracy"] >= 0.95


def test_the_mlp_tells_the_tumours_apart(train, tmp_path):
    folder = train(
        tmp_path / "run",
        "data=tabular",
        "model.widths=[32]",
        "trainer.epochs=15",
        "schedule=constant",
    ).folder
    assert scores(folder)["accuracy"] >= 0.93


def test_the_mlp_explains_a_third_of_the_course_of_diabetes(train, tmp_path):
    folder = train(tmp_path / "run", "data=diabetes", "model.widths=[16]", "optimizer=adamw",
                   "schedule=constant", "trainer.epochs=25",
                   "trainer.batch_size=32").folder  # fmt: skip
    assert scores(folder)["r2"] > 0.35


def test_the_cnn_reads_95_percent_of_the_digits(train, tmp_path):
    folder = train(tmp_path / "run", "model=cnn", "model.channels=[16,32]", "optimizer.lr=3e-3",
                   "trainer.epochs=5", "schedule=constant").folder  # fmt: skip
    assert scores(folder)["accuracy"] >= 0.95


@pytest.mark.parametrize(
    "model", ["mlp model.widths=[64]", pytest.param("cnn", marks=pytest.mark.slow),
              pytest.param("resnet", marks=pytest.mark.slow)],
)  # fmt: skip
def test_any_model_learns_with_muon_and_sgd_as_they_come(train, tmp_path, model):
    folder = train(tmp_path / "run", *f"model={model}".split(), "optimizer=muon_sgd",
                   "trainer.epochs=4").folder  # fmt: skip
    assert scores(folder)["accuracy"] >= 0.95


@pytest.mark.slow
def test_the_resnet_learns_with_few_epochs(train, tmp_path):
    folder = train(tmp_path / "run", "model=resnet", "model.blocks_per_stage=1", "model.width=8",
                   "optimizer.lr=1e-2", "trainer.epochs=4", "schedule=constant").folder  # fmt: skip
    assert scores(folder)["accuracy"] >= 0.9


@pytest.mark.slow
@pytest.mark.parametrize(
    "options",
    [
        "model=gan",
        "model=mlp_gan",
        "model=gan task.relativistic=false task.r1=0",
        "model=gan task.loss=hinge",
        "model=gan task.loss=least_squares",
        "model=gan task.loss=wasserstein_gp",
        "model=gan model.conditional=false",
        "model=gan model.conditional=auxiliary",
        "model=gan model.conditional_norm=all",
        "model=gan model.spectral_norm=true",
        "model=gan task.top_k=0.5",
        "model=gan task.diff_augment=[color,translation,cutout]",
        "model=gan task.instance_noise=0.2",
        "model=gan optimizer.players.discriminator.lr=4e-4",
    ],
)
def test_a_gan_comes_close_to_the_digits(train, tmp_path, options):
    """Its distance falls to below a third of that of an untrained generator."""
    words = options.split()
    folder = train(tmp_path / "run", *words, "trainer.steps=600", "trainer.evaluate_every=60",
                   "task.score=none").folder  # fmt: skip
    untrained = train(tmp_path / "new", *words, "trainer=smoke", "trainer.ema=null",
                      "optimizer.lr=1e-9", "task.score=none").folder  # fmt: skip
    before = scores(untrained)["sliced_wasserstein"]
    assert scores(folder)["sliced_wasserstein"] < before / 3

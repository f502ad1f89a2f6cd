"""A GAN's run with its score: what it leaves behind, and that training never notices."""

import json

import pytest
import torch

from trainwright.data.sources.digits import load_digits_dataset
from trainwright.engine.checkpoint import checkpoint
from trainwright.inference.evaluate import evaluate_trained
from trainwright.inference.trained import load_trained

pytestmark = pytest.mark.numeric
RUN = ("model=gan", "model.width=4", "model.latent_dim=8", "trainer.ema=0.9", "trainer.steps=6",
       "trainer.batch_size=16", "trainer.evaluate_every=3", "trainer.save_every=3",
       "trainer.score_samples=100", "trainer.plots=true")  # fmt: skip


@pytest.fixture(scope="module")
def scored(train, tmp_path_factory):
    return train(tmp_path_factory.mktemp("scored") / "run", *RUN)


def rows_of(folder):
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


def test_the_run_is_chosen_by_its_score_and_says_so(scored):
    folder = scored.folder
    evaluated = [row for row in rows_of(folder) if "validation/frechet" in row]
    assert [row["step"] for row in evaluated] == [3, 6]
    assert all(row["validation/frechet_error"] > 0 for row in evaluated)
    assert scored.objective == pytest.approx(
        min(row["validation/frechet"] for row in evaluated), rel=1e-6
    )
    assert {path.name for path in (folder / "plots").glob("*.png")} >= {
        "scores.png", "neighbours.png", "interpolation.png", "discriminator.png"
    }  # fmt: skip


def test_the_summary_has_the_full_score_with_floors_of_test_images(scored):
    score = json.loads((scored.folder / "summary.json").read_text())["test"]["score"]
    assert score["num_samples"] == 10_000
    assert score["num_floor"] == 180
    assert set(score["figures"]) == set(score["at_floor_samples"])
    assert score["figures"]["frechet"]["value"] > score["figures"]["frechet"]["floor"]
    assert list(score["per_class"]) == [str(digit) for digit in range(10)]


def test_measuring_the_checkpoint_later_gives_the_same_score(scored):
    score = json.loads((scored.folder / "summary.json").read_text())["test"]["score"]
    trained = load_trained(scored.folder / "checkpoints" / "best.safetensors")
    again = evaluate_trained(trained, load_digits_dataset(), "test").score
    assert again["features"] == score["features"]
    for name, figure in score["figures"].items():
        assert again["figures"][name] == pytest.approx(figure, rel=1e-4, abs=1e-6, nan_ok=True)


def test_training_is_the_same_with_and_without_a_score(scored, train, tmp_path):
    without = train(tmp_path / "run", *RUN, "task.score=none").folder
    first, _ = checkpoint.load(scored.folder / "checkpoints" / "last.safetensors")
    second, _ = checkpoint.load(without / "checkpoints" / "last.safetensors")
    assert first.keys() == second.keys()
    assert all(torch.equal(first[name], second[name]) for name in first)

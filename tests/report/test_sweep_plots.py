"""Pictures of sweeps: what mattered, and what is written on their axes."""

import random

import pytest
from PIL import Image

from trainwright.report.plots.figures import PALETTE
from trainwright.report.plots.sweeps import Trial, importance, plot_curves_of_all, plot_values


@pytest.mark.slow
def test_the_key_that_decides_is_the_most_important_and_one_that_does_nothing_the_least():
    draw = random.Random(0)
    trials = []
    for _ in range(60):
        point = {"idle": str(draw.random()), "kind": draw.choice("ab"), "rate": str(draw.random())}
        value = 10 * float(point["rate"]) + 2 * (point["kind"] == "b")
        trials.append(Trial(point, value, ()))
    names, means, _ = importance(trials, ["idle", "kind", "rate"])
    assert names == ["rate", "kind", "idle"]
    assert means[0] > 5 * means[1] > 0
    assert means[2] == pytest.approx(0, abs=0.02)


def colours_of(path):
    """The colours of the palette that are in a picture, without its grey."""
    with Image.open(path) as picture:
        found = {rgb for _, rgb in picture.convert("RGB").getcolors(2**20)}
    return {colour for colour in PALETTE[:-1] if tuple(bytes.fromhex(colour[1:])) in found}


def test_all_seeds_of_a_setting_have_one_colour_and_each_has_its_own_if_there_are_only_seeds(
    tmp_path,
):
    def curves(points):
        trials = [Trial(point, i, [(0, i), (10, 2 * i + 1)]) for i, point in enumerate(points)]
        plot_curves_of_all(trials, "accuracy", tmp_path / "curves.png", higher_is_better=True)
        return len(colours_of(tmp_path / "curves.png"))

    seeds = [{"seed": str(seed)} for seed in range(3)]
    assert curves(seeds) == 3
    assert curves([{"lr": lr, **seed} for lr in ("1e-3", "3e-4") for seed in seeds]) == 2


def test_values_against_keys_of_numbers_words_and_nothing_are_drawn(tmp_path):
    points = [{"lr": "0.001", "model": "mlp"}, {"lr": "0.0003"}, {"lr": "0.3", "model": "cnn"}]
    trials = [Trial(point, i, ()) for i, point in enumerate(points)]
    plot_values(trials, ["lr", "model"], "accuracy", tmp_path / "values.png")
    with Image.open(tmp_path / "values.png") as picture:
        assert picture.width > picture.height > 300

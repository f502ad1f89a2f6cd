"""Pictures of sweeps: what mattered, and what is written on their axes."""

import random
from itertools import pairwise

import pytest
from PIL import Image

from trainwright.report.plots.figures import PALETTE, new_figure, style
from trainwright.report.plots.sweeps import (
    Trial,
    _label,
    importance,
    plot_curves_of_all,
    plot_values,
    setting_text,
)
from trainwright.report.scales import Scale, short_names


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


DRAWS = random.Random(1)
TYPED = {
    "three decades": [str(10 ** DRAWS.uniform(-4, -1)) for _ in range(40)],
    "nine decades": [str(10 ** DRAWS.uniform(-9, 0)) for _ in range(40)],
    "a factor of 25": [str(DRAWS.uniform(1.01, 25)) for _ in range(40)],
    "beside each other": ["1e-4", "1.1e-4", "0.1"],
    "linear, beside each other": ["128", "130", "131", "512"],
    "two": ["0.001", "0.1"],
    "one": ["0.001", "0.001"],
    "long": ["0.00012345", "0.00112345", "0.0112345", "0.112345", "1.12345"],
}


@pytest.mark.parametrize("name", TYPED)
@pytest.mark.parametrize("log", [None, True, False])
def test_labels_of_an_axis_do_not_print_over_each_other(name, log):
    figure = new_figure(3.4, 2.8)  # a panel of values.png
    axes = figure.add_subplot()
    style(axes)
    scale = Scale.of(TYPED[name], log)
    _label(axes, scale)
    axes.plot(scale.places, scale.places, "o")
    figure.canvas.draw()
    low, high = sorted(axes.get_xlim())
    boxes = [
        label.get_window_extent()
        for which in ("major", "minor")
        for label, tick in zip(
            axes.get_xticklabels(which=which),
            axes.get_xticks(minor=which == "minor"),
            strict=True,
        )
        if label.get_text() and low <= tick <= high
    ]
    boxes.sort(key=lambda box: box.x0)
    assert boxes
    assert all(one.x1 < other.x0 for one, other in pairwise(boxes))


@pytest.mark.parametrize(
    ("words", "degrees"),
    [(["[8]", "[64]", "[64,32]"], 0), (["[1024,512,256]", "[512,256,128]", "[64,32,16]"], 30)],
)
def test_words_that_would_print_over_each_other_are_turned(words, degrees):
    axes = new_figure(3.4, 2.8).add_subplot()
    _label(axes, Scale.of(words))
    assert {label.get_rotation() for label in axes.get_xticklabels()} == {degrees}


def test_keys_are_cut_to_what_tells_them_apart():
    """Beside a line of parallel.png they printed over each other, in a legend they were all cut."""
    keys = ["optimizer.players.discriminator.lr", "optimizer.players.generator.lr", "model.width"]
    assert [*short_names(keys).values()] == ["discriminator.lr", "generator.lr", "width"]
    assert short_names(["a.lr", "lr"]) == {"a.lr": "a.lr", "lr": "lr"}
    assert setting_text({"optimizer.lr": "0.1", "seed": "1"}) == "lr=0.1"


@pytest.mark.parametrize(
    ("searched", "expected"), [(None, "log"), (True, "log"), (False, "linear")]
)
def test_a_key_stands_on_the_scale_on_which_it_was_searched(searched, expected):
    """From 0.005 to 0.5 by equal steps: most of it was in the last third of a logarithmic axis."""
    axes = new_figure(3, 3).add_subplot()
    _label(axes, Scale.of(["0.005", "0.1", "0.2", "0.3", "0.5", "0.4"], searched))
    assert axes.get_xscale() == expected
    _label(
        axes, Scale.of(["0", "1", "2"], True)
    )  # where there is no logarithm, it goes without one


def test_labels_across_a_line_of_parallel_coordinates_have_room_too():
    assert [*Scale.of(["128", "130", "131", "512"]).share_labels.values()] == ["128", "512"]
    assert [*Scale.of(["1", "2", "3"]).share_labels.values()] == ["1", "2", "3"]

"""What becomes a curve, which curves share a panel, and what smoothing does to them."""

import math

import pytest

from trainwright.report.plots.series import collect, kind_names, panels, smoothed

GAN_ROW = {
    "step": 50,
    "epoch": 0.1,
    "train/discriminator/loss": 0.6,
    "train/generator/loss": 1.2,
    "train/discriminator/real": 1.5,
    "train/discriminator/fake": -1.0,
    "train/discriminator/grad_norm": 0.3,
    "train/generator/grad_norm": 0.2,
    "lr/discriminator": 2e-4,
    "lr/generator": 1e-4,
}


def test_players_and_metrics_are_told_apart():
    curves = collect([GAN_ROW])
    groups = panels(curves)
    assert {title: list(kind_names(group).values()) for title, group in groups.items()} == {
        "loss": ["discriminator", "generator"],
        "scores of real and fake": ["real", "fake"],
        "gradient norm": ["discriminator", "generator"],
    }
    assert [curve.kind for curve in curves if curve.name == "lr"] == [
        ("discriminator", "lr"),
        ("generator", "lr"),
    ]


def test_signs_of_health_share_a_panel_and_each_class_has_a_line():
    row = {"step": 1, "health": "healthy", "health/separation": 0.9, "health/diversity": 0.5}
    few = {f"health/diversity/{name}": 0.1 for name in ("cat", "dog")}
    groups = panels(collect([{**row, **few}]))
    assert {title: list(kind_names(group).values()) for title, group in groups.items()} == {
        "separation of real and fake": ["separation"],
        "diversity of samples": ["all", "cat", "dog"],
    }
    many = {f"health/diversity/{number}": 0.1 for number in range(11)}
    (curve,) = panels(collect([{**row, **many}]))["diversity of samples"]
    assert curve.owner == ""


def test_a_further_split_is_named_and_the_split_itself_is_not_called_all():
    row = {"step": 1, "train/loss": 1.0, "validation/loss": 1.0, "validation/night/loss": 2.0}
    group = panels(collect([row]))["loss"]
    names = kind_names(group)
    assert [(names[curve.kind], curve.phase) for curve in group] == [
        ("", "train"),
        ("", "validation"),
        ("night", "validation"),
    ]


def test_train_and_validation_of_one_metric_share_a_panel():
    rows = [{"step": 1, "train/loss": 1.0, "validation/loss": 1.0}]
    assert [curve.phase for curve in panels(collect(rows))["loss"]] == ["train", "validation"]


def test_an_unknown_metric_has_a_panel_of_its_own_after_the_known_ones():
    rows = [{"step": 1, "train/bits_per_byte": 2.0, "train/loss": 1.0}]
    assert list(panels(collect(rows))) == ["loss", "bits per byte"]


def test_what_is_no_number_is_left_out_and_what_is_not_finite_is_a_gap():
    rows = [
        {"step": 1, "train/loss": 1.0, "train/accuracy": None, "note": "x", "flag": True},
        {"step": 2, "train/loss": math.nan, "train/accuracy": math.inf, "train/f1": [1, 2]},
        {"step": None, "train/loss": 3.0},
        {"train/loss": 4.0},
    ]
    (loss,) = collect(rows)
    assert loss.steps == [1, 2]
    assert loss.values == pytest.approx([1.0, math.nan], nan_ok=True)
    assert loss.is_point


def test_smoothing_is_the_mean_weighted_by_decay_to_the_distance():
    values = [1.0, 4.0, math.nan, 2.0, 8.0]
    decay = 1 - 2 / (3 + 1)
    expected = []
    for here in range(5):
        weights = {i: decay ** abs(i - here) for i in range(5) if not math.isnan(values[i])}
        total = sum(weight * values[i] for i, weight in weights.items())
        expected.append(total / sum(weights.values()))
    assert smoothed(values, span=3) == pytest.approx(expected)


def test_smoothing_neither_lags_nor_changes_a_constant():
    line = [float(step) for step in range(101)]
    assert smoothed(line, span=5)[50] == pytest.approx(50)
    assert smoothed([3.0] * 20, span=5) == pytest.approx([3.0] * 20)
    assert all(math.isnan(value) for value in smoothed([math.nan] * 3, span=5))

import numpy as np
import pytest
import torch
from PIL import Image

from trainwright.report.plots.grid import GAP, neighbour_grid
from trainwright.report.plots.scores import plot_logits, plot_scores
from trainwright.report.plots.series import collect, panels
from trainwright.report.score_table import class_table, score_table

SCORE = {
    "features": "digits-cnn-123456",
    "num_samples": 10_000,
    "num_floor": 180,
    "figures": {
        "frechet": {"value": 1.5423, "error": 0.0604, "floor": 0.448, "floor_error": 0.188},
        "confident": {"value": 0.85751, "error": 0.0035, "floor": 1.0, "floor_error": 0.0},
    },
    "at_floor_samples": {
        "frechet": {"value": 2.6171, "error": 0.11},
        "confident": {"value": 0.8628, "error": 0.0067},
    },
}


def test_the_table_has_samples_and_real_images_side_by_side_to_the_digits_known():
    header, frechet, confident = score_table(SCORE)
    assert header.split() == ["10,000", "samples", "180", "samples", "180", "real", "better"]
    assert frechet.endswith("lower")
    for expected in ("1.542 ± 0.060", "2.62 ± 0.11", "0.45 ± 0.19"):
        assert expected in frechet
    assert "0.8575 ± 0.0035" in confident
    assert confident.split()[-2:] == ["1", "higher"]


def test_a_floor_of_as_many_images_needs_no_column_of_its_own():
    same = {key: value for key, value in SCORE.items() if key != "at_floor_samples"}
    header, *_ = score_table({**same, "num_floor": 10_000})
    assert header.split() == ["10,000", "samples", "10,000", "real", "better"]


def test_classes_have_a_row_each():
    rows = {
        "0": {"frechet": 2.0, "frechet_error": 0.1, "floor": 0.5, "floor_error": 0.02},
        "1": {"frechet": 3.0, "frechet_error": 0.1, "as_asked": 0.987},
    }
    _, zero, one = class_table(rows)
    assert zero.split() == ["0", "2.00", "±", "0.10", "0.500", "±", "0.020", "-"]
    assert one.split() == ["1", "3.00", "±", "0.10", "-", "98.7%"]


def rows(num=5):
    return [
        {
            "step": 100 * i,
            "validation/frechet": 10 / i,
            "validation/frechet_error": 0.2,
            "validation/precision": 0.1 * i,
            "validation/precision_error": 0.01,
            "train/generator/loss": 1.0,
        }
        for i in range(1, num + 1)
    ]


def test_a_plot_of_the_score_is_drawn_and_a_run_without_one_has_none(tmp_path):
    floors = {"frechet": (0.5, 0.1), "precision": (0.9, 0.01)}
    path = tmp_path / "scores.png"
    assert plot_scores(rows(), floors, path, num_samples=2500, num_real=180)
    with_floor = np.asarray(Image.open(path))
    assert plot_scores(rows(), {}, tmp_path / "bare.png", num_samples=2500, num_real=180)
    bare = np.asarray(Image.open(tmp_path / "bare.png"))
    orange = (np.abs(with_floor.astype(int) - (0xD5, 0x5E, 0)).sum(-1) < 60).sum()
    assert orange > 100
    assert (np.abs(bare.astype(int) - (0xD5, 0x5E, 0)).sum(-1) < 60).sum() == 0
    plain = [{"step": 1, "validation/accuracy": 0.5}]
    assert not plot_scores(plain, {}, tmp_path / "none.png", num_samples=1, num_real=1)
    assert not (tmp_path / "none.png").exists()


def test_the_curves_leave_the_figures_of_a_score_to_their_own_plot():
    titles = panels(collect(rows()))
    assert "Fréchet distance" in titles
    assert not [title for title in titles if "error" in title or "averages" in title]
    classifier = panels(collect([{"step": 1, "validation/precision": 0.5}]))
    assert list(classifier) == ["macro averages"]


def test_logits_are_drawn_where_they_lie(tmp_path):
    plot_logits(torch.full((50,), 2.0), torch.full((80,), -2.0), tmp_path / "d.png")
    pixels = np.asarray(Image.open(tmp_path / "d.png")).astype(int)
    blue = np.flatnonzero((pixels[..., 2] - pixels[..., 0] > 60).sum(0) > 60)
    orange = np.flatnonzero((pixels[..., 0] - pixels[..., 2] > 60).sum(0) > 60)
    assert blue.max() < orange.min()


def test_neighbours_stand_to_the_right_of_their_sample_the_nearest_first():
    samples = torch.tensor([10, 20], dtype=torch.uint8).view(2, 1, 1, 1).expand(2, 1, 8, 8)
    neighbours = torch.tensor([[11, 12, 13], [21, 22, 23]], dtype=torch.uint8)
    picture = neighbour_grid(samples, neighbours.view(2, 3, 1, 1, 1).expand(2, 3, 1, 8, 8))
    pixels = np.asarray(picture)[..., 0]
    tile, step = 25, 50
    for row in range(2):
        line = pixels[2 + row * step + tile]
        found = [line[2 + tile]] + [line[52 + GAP + 2 + k * step + tile] for k in range(3)]
        assert found == [10 * (row + 1) + k for k in range(4)]


def test_neighbours_of_another_shape_are_refused():
    with pytest.raises(ValueError, match=r"\(N, K, C, H, W\)"):
        neighbour_grid(torch.zeros(2, 1, 8, 8), torch.zeros(3, 5, 1, 8, 8))

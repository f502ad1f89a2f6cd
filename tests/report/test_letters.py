"""Names in scripts that the usual font has not are drawn in one that has, or spelled out."""

import warnings

import numpy as np
import pytest
import torch
from matplotlib import font_manager
from PIL import Image

from trainwright.report.letters import _fonts, _known, _usual, font_of_all, fonts_of, spelled
from trainwright.report.plots.confusion import plot_confusion
from trainwright.report.plots.predictions import prediction_grid
from trainwright.report.plots.sweeps import Trial, plot_curves_of_all, plot_values

CHINESE = ["猫", "犬"]


def letters_in(path):
    return {chr(code) for code in font_manager.get_font(path).get_charmap()}


@pytest.fixture
def no_others(monkeypatch):
    """A machine with one font, that of all plots, which has no Chinese."""
    _known.clear()
    monkeypatch.setattr("trainwright.report.letters._fonts", lambda: (_usual(),))
    yield
    _known.clear()


def test_a_letter_that_no_font_has_is_spelled(no_others):
    assert spelled("猫 é_$") == "\\u732b é_$"
    assert spelled("cat") == "cat"
    assert [font.family for font in fonts_of(["é猫"])] == ["DejaVu Sans"]
    assert font_of_all(["猫"]).family == "DejaVu Sans"


def test_no_plot_draws_a_box(no_others, tmp_path):
    """Matplotlib warns of each letter that its font has not."""
    trials = [Trial({"数据": text}, 0.5, [(1.0, 0.5)]) for text in CHINESE]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        plot_confusion([[3, 1], [0, 2]], CHINESE, tmp_path / "confusion.png")
        plot_values(trials, ["数据"], "准确率", tmp_path / "values.png")
        plot_curves_of_all(trials, "准确率", tmp_path / "curves.png", higher_is_better=True)


def test_a_letter_of_another_font_comes_from_that(tmp_path):
    usual, others = letters_in(_usual().path), [font for font in _fonts() if font != _usual()]
    letter = next(
        letter
        for font in others
        for letter in sorted(letters_in(font.path) - usual)
        if letter.isprintable()
    )
    (first, *rest) = fonts_of([f"a{letter}"])
    assert first == _usual()
    assert letter in letters_in(rest[0].path)
    assert spelled(letter) == letter
    assert letter in letters_in(font_of_all([letter]).path)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        plot_confusion([[3, 1], [0, 2]], [f"a{letter}", "b"], tmp_path / "one.png")
        plot_confusion([[3, 1], [0, 2]], ["a", "b"], tmp_path / "other.png")
    one, other = (np.asarray(Image.open(tmp_path / f"{n}.png")) for n in ("one", "other"))
    assert one.shape != other.shape or (one != other).any()


def test_captions_of_predictions_have_no_boxes_either(no_others, monkeypatch):
    """The font of plain captions has no Cyrillic, and draws the same box for every letter."""
    images = torch.zeros(2, 1, 28, 28, dtype=torch.uint8)

    def drawn(*names):
        return np.asarray(prediction_grid(images, names, names, (True, True)))

    assert (drawn("кот", "пёс") != drawn("пёс", "кот")).any()
    assert (drawn("猫", "犬") == drawn(r"\u732b", r"\u72ac ")).mean() > 0.9
    assert (drawn("猫", "犬") != drawn("犬", "猫")).any()

"""A run goes on with the data that it began with: other classes are refused, other splits said."""

import json
import logging
import shutil

import pytest
from PIL import Image

from trainwright.errors import DataError

RUN = ("data=folder", "data.size=8", "data.channels=1", "model.widths=[8]", "trainer.batch_size=8")


def folder_of(path, *classes, num=10):
    """Images of one grey, which tells the class and the number."""
    for place, name in enumerate(classes):
        (path / name).mkdir(parents=True)
        for number in range(num):
            image = Image.new("L", (8, 8), 60 * place + number)
            image.save(path / name / f"{number}.png")
    return path


def files_of(folder):
    return {p: p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


@pytest.fixture
def begun(train, tmp_path):
    """A run of two steps on the classes cat, dog and hen."""
    images = folder_of(tmp_path / "images", "cat", "dog", "hen")
    data = (f"data.path={images}", f"data.root={tmp_path / 'cache'}")
    return train(tmp_path / "run", *RUN, *data, "trainer.epochs=null", "trainer.steps=2").folder


LONGER = ("trainer.steps=3", "trainer.schedule_until=100%")


@pytest.mark.parametrize(
    ("classes", "said"),
    [
        (("dog", "hen", "owl"), "class names .*number 0 was cat, and is dog now"),
        (("ant", "cat", "dog", "hen"), "class names .*3 then, 4 now"),
    ],
)
def test_other_classes_are_refused_and_nothing_is_changed(classes, said, begun, resume, tmp_path):
    before = files_of(begun)
    other = folder_of(tmp_path / "other", *classes)
    with pytest.raises(DataError, match=said):
        resume(begun, f"++data.path={other}", *LONGER)
    assert files_of(begun) == before


def test_examples_that_were_added_are_said_to_redraw_the_splits(begun, resume, tmp_path, caplog):
    shutil.copy(tmp_path / "images" / "cat" / "3.png", tmp_path / "images" / "cat" / "new.png")
    with caplog.at_level(logging.INFO):
        resume(begun, *LONGER)
    said = "its data have changed: what it was trained on may be among the validation and test"
    assert any(text.startswith(said) for text in caplog.messages)
    (record,) = json.loads((begun / "summary.json").read_text())["resumed"]
    assert any(note.startswith(said) for note in record["notes"])


def test_the_same_images_elsewhere_are_the_same_data(begun, resume, tmp_path, caplog):
    shutil.move(tmp_path / "images", tmp_path / "moved")
    with caplog.at_level(logging.INFO):
        resume(begun, f"++data.path={tmp_path / 'moved'}", *LONGER)
    assert not any("data have changed" in text for text in caplog.messages)

"""A table's column of text, read as tokens by a network that wants these."""

import csv

import pytest
import torch

import trainwright
from trainwright.data.columns import PADDING
from trainwright.data.sources.table import load_table
from trainwright.errors import ConfigError, DataError

TEXTS = ["a lovely and quite touching film", "an awful film", "flät and dull from end to end", ""]
SMALL = ("model=text_encoder", "model.depth=1", "model.width=32", "trainer.plots=false")


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    path = tmp_path_factory.mktemp("texts") / "reviews.csv"
    with path.open("w", newline="") as opened:
        rows = csv.writer(opened)
        rows.writerow(["price", "review", "summary", "stars"])
        rows.writerows(
            [i % 7, TEXTS[i % 4], f"one of {i} more words", ["good", "bad"][min(i % 4, 1)]]
            for i in range(120)
        )
    return path


def load(file, **settings):
    settings = {"text": ["review"], "columns": ["review"], "context": 20, **settings}
    return load_table(path=str(file), target="stars", reads_tokens=True, **settings)


def test_a_text_is_its_bytes_as_far_as_they_are_read_and_nothing_else_is_an_input(file):
    data = load(file, columns=["review", "price"])
    assert data.info.inputs == ("review",)
    found = {
        bytes(row[row != PADDING].tolist()) for row in data.train.take(torch.arange(96))["review"]
    }
    assert found == {text.encode()[:20] for text in TEXTS}
    assert any("left out" in note and "price" in note for note in data.notes)


def test_no_more_tokens_are_read_than_the_longest_text_of_training_has(file):
    assert load(file, context=999).info.input_shape == (max(len(t.encode()) for t in TEXTS),)


def test_a_run_goes_on_with_the_tokens_of_the_run_that_it_begins_with(file):
    known = load(file, tokenizer="bpe", vocab_size=270).info
    assert load(file, known=known).info.input.coder.plain == known.input.coder.plain
    assert load(file).info.input.tokenizer == "bytes"


@pytest.mark.parametrize(
    ("settings", "error", "said"),
    [
        ({"text": None, "columns": ["price"]}, DataError, "there are 0: none is plain text"),
        (
            {"text": ["review", "summary"], "columns": None},
            DataError,
            "there are 2: review, summary",
        ),
        ({"tokenizer": "chars"}, ConfigError, "use bytes, bpe"),
        ({"context": 0}, ConfigError, "data.context=0"),
    ],
)
def test_what_cannot_be_read_is_refused(file, settings, error, said):
    with pytest.raises(error, match=said):
        load(file, **settings)


def test_texts_of_a_table_are_classified_and_predicted_from_text_and_from_files(
    file, train, tmp_path
):
    words = ("data=table", f"data.path={file}", "data.text=[review]", "data.columns=[review]")
    train(tmp_path / "run", *SMALL, *words, "data.target=stars", "trainer.steps=60")
    run = trainwright.load(tmp_path / "run")
    assert run.metrics["test/accuracy"] == 1
    new = tmp_path / "new.csv"
    new.write_text("price,review\n1,an awful film\n")
    assert list(run.predict(["an awful film"]).labels) == ["bad"]
    assert list(run.predict(new).labels) == ["bad"]

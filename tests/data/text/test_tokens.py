"""Tokens of letters and of bytes, and windows of them."""

import json

import numpy as np
import pytest
import torch

from trainwright.data.columns import PADDING, BadInputError, Tokens, column_of
from trainwright.data.examples import Windows

CHARS = Tokens(length=4, vocabulary=("b", "a", "é", "🐈"))
BYTES = Tokens(length=4, tokenizer="bytes", special=("<end>",))


@pytest.mark.parametrize("column", [CHARS, BYTES])
def test_a_text_comes_back_from_its_tokens(column):
    text = "aébb🐈a"
    tokens = column.encode(text)
    assert column.text(tokens) == text
    assert int(column.num_bytes[tokens].sum()) == len(text.encode())
    assert column_of(json.loads(json.dumps(column.plain()))) == column


def test_letters_have_the_numbers_of_the_vocabulary():
    assert CHARS.encode("ba🐈é").tolist() == [0, 1, 3, 2]


def test_a_letter_that_is_new_is_named():
    with pytest.raises(BadInputError, match="'z', which is new"):
        CHARS.encode("abz")


def test_special_tokens_come_after_all_others_and_have_no_bytes():
    assert (BYTES.end, BYTES.num_options, CHARS.end) == (256, 257, None)
    assert int(BYTES.num_bytes[256]) == 0
    assert BYTES.text(torch.tensor([104, 105, 256, 106, PADDING])) == "hi<end>j"


@pytest.mark.parametrize("dtype", [torch.uint8, torch.uint16, torch.uint32])
@pytest.mark.parametrize("num", [9, 10, 11, 12, 13])
def test_every_token_but_the_first_is_once_the_next_one(dtype, num):
    stream = torch.from_numpy(np.arange(200, 200 + num)).to(dtype)
    windows = Windows("text", stream, length=4, keep_rest=True)
    taken = windows.take(torch.arange(len(windows)))["text"]
    predicted = taken[:, 1:]
    assert predicted[predicted != PADDING].tolist() == list(range(201, 200 + num))
    assert (taken[:, 0] != PADDING).all()
    whole = Windows("text", stream, length=4)
    assert torch.equal(
        whole.take(torch.arange(len(whole)))["text"].long(), taken[: len(whole)].long()
    )


def test_tokens_beyond_the_sign_bit_are_what_they_are():
    stream = torch.from_numpy(np.array([65535, 40000, 1], dtype=np.uint16))
    assert Windows("text", stream, length=3).take(torch.tensor([0]))["text"].tolist() == [
        [65535, 40000, 1]
    ]

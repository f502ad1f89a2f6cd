"""The columns of a table: what is missing, what was never seen, and what a checkpoint keeps."""

import datetime
import math
from pathlib import Path

import numpy as np
import pytest
import torch

from trainwright.data.columns import (
    MISSING,
    UNSEEN,
    BadInputError,
    Categories,
    Numbers,
    Values,
    column_of,
)
from trainwright.data.tables.cells import date_parts, hashed, number_of

HERE = Path()
NUMBERS = Numbers(
    mean=(2.0, 10.0),
    std=(4.0, 5.0),
    names=("a", "b"),
    fill=(1.0, 20.0),
    flagged=(1,),
    cells=(("a", "comma"), ("b", "comma")),
    null=("", "na"),
)
COLOURS = Categories(
    names=("colour", "size"),
    options=(("(unseen)", "(missing)", "red", "NA"), ("(unseen)", "(missing)", "s", "m")),
    is_open=True,
    null=("", "na"),
)


def test_a_missing_number_is_filled_in_scaled_and_flagged():
    stored = torch.tensor([[6.0, 5.0], [math.nan, math.nan]])
    seen = NUMBERS.preparation(torch.device("cpu"))(stored)
    assert seen.tolist() == [[1.0, -1.0, 0.0], [-0.25, 2.0, 1.0]]
    assert NUMBERS.shape == (3,)
    assert NUMBERS.stored_shape == (2,)
    assert NUMBERS.fault(stored) == ""
    assert "of shape (2,)" in NUMBERS.fault(torch.zeros(1, 3))


def test_a_limit_is_never_passed_and_small_numbers_are_left_as_they_are():
    column = Numbers((0.0,), (1.0,), limit=3.0)
    seen = column.preparation(torch.device("cpu"))(torch.tensor([[0.01], [4.0], [1e30], [-1e38]]))
    torch.testing.assert_close(seen[:2], torch.tensor([[0.01], [4 / (1 + 16 / 9) ** 0.5]]),
                               rtol=1e-5, atol=0)  # fmt: skip
    assert seen[2:, 0].tolist() == pytest.approx([3.0, -3.0], rel=1e-5)


def test_a_row_is_read_with_its_words_for_nothing_and_its_decimal_sign():
    read = NUMBERS.read([" 1,5 ", "NA"], HERE)
    assert read.dtype == np.float32
    assert read[0] == 1.5
    assert np.isnan(read[1])
    with pytest.raises(BadInputError, match=r"b is '1\.5', which is no number"):
        NUMBERS.read(["1", "1.5"], HERE)


@pytest.mark.parametrize("cell", ["1_000", "nan", "ten", "0x10", ""])
def test_what_only_python_calls_a_number_is_none(cell):
    with pytest.raises(ValueError, match=f"{cell}'?$"):
        number_of(cell)


@pytest.mark.parametrize("cell", ["inf", "-Infinity", "1e39"])
def test_a_number_that_float32_lacks_is_refused(cell):
    with pytest.raises(OverflowError):
        number_of(cell)


def test_categories_have_numbers_for_what_is_unseen_and_what_is_missing():
    assert COLOURS.read(["red", "m"], HERE).tolist() == [2, 3]
    assert COLOURS.read(["green", " "], HERE).tolist() == [UNSEEN, MISSING]
    assert COLOURS.read(["(unseen)", "(missing)"], HERE).tolist() == [UNSEEN, UNSEEN]
    assert COLOURS.sizes == (4, 4)


def test_a_date_becomes_years_and_places_on_circles():
    years, *circles = date_parts(datetime.datetime(2024, 1, 1, 6))
    assert years == pytest.approx((54 * 365 + 13 + 0.25) / 365.25)
    assert circles[0] == pytest.approx(math.sin(2 * math.pi * 0.25 / 365.25))
    assert circles[2:4] == pytest.approx([math.sin(2 * math.pi * 0.25 / 7),
                                          math.cos(2 * math.pi * 0.25 / 7)])  # fmt: skip
    assert circles[4:] == pytest.approx([1.0, 0.0], abs=1e-12)  # a Monday, six o'clock


def test_a_text_is_hashed_alike_whatever_its_case_and_has_length_one():
    one, other = hashed("The quick fox", 32), hashed("the QUICK, fox!", 32)
    assert one == other
    assert sum(x * x for x in one) == pytest.approx(1)
    assert hashed("", 4) == [0.0] * 4
    assert hashed("fox the quick", 32) != one  # pairs of words


@pytest.mark.parametrize("column", [NUMBERS, COLOURS, Values((1.0,), (2.0,), unit=(3.0,))])
def test_a_checkpoint_remembers_all_of_a_column(column):
    assert column_of({**column.plain()} | _lists(column.plain())) == column


def _lists(value):
    if isinstance(value, dict):
        return {key: _lists(inner) for key, inner in value.items()}
    return [_lists(inner) for inner in value] if isinstance(value, tuple) else value


@pytest.mark.parametrize(
    "change",
    [
        {"fill": [1.0]},
        {"fill": [1.0, math.nan]},
        {"flagged": [2]},
        {"flagged": [-1]},
        {"flagged": [0], "fill": []},
        {"limit": -1.0},
        {"limit": True},
        {"cells": [["a", "number"]]},
        {"cells": [["a", "number"], ["b", "eval 1"]]},
        {"cells": [["a", "number"], ["b", "text 99999"]]},
        {"cells": [["a", "number"], ["b"]]},
        {"null": [1]},
        {"cells": [["a", "comma"], ["b", "semicolon"]]},
    ],
)
def test_numbers_that_were_never_written_so_are_refused(change):
    with pytest.raises(ValueError, match=r"flagged|wrong type|as many|no way"):
        column_of({**_lists(NUMBERS.plain()), **change})


@pytest.mark.parametrize("change", [{"is_open": 1}, {"options": [["only"], ["a", "b", "c"]]}])
def test_categories_that_were_never_written_so_are_refused(change):
    with pytest.raises(ValueError, match=r"lacks the options|wrong type"):
        column_of({**_lists(COLOURS.plain()), **change})


def test_values_are_learned_on_the_scale_of_asinh_and_told_in_their_own_units():
    values = Values((1.0,), (0.5,), unit=(10.0,))
    told = torch.tensor([0.0, 10.0, 1e6, -5.0], dtype=torch.float64)
    scaled = values.standardised(told)
    torch.testing.assert_close(scaled, ((told / 10).asinh() - 1) / 0.5)
    torch.testing.assert_close(values.in_units(scaled), told)
    several = Values((0.0, 1.0), (1.0, 1.0), ("a", "b"), unit=(1.0, 2.0))
    pairs = torch.tensor([[1.0, 2.0]], dtype=torch.float64)
    torch.testing.assert_close(several.in_units(several.standardised(pairs)), pairs)

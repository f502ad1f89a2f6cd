"""Data of a user's own, which all ranks load: labels, not the same on all of them, short texts."""

import pytest

CODE = """
import os

import torch
from torch import distributed
from trainwright.data.columns import PADDING, Tokens
from trainwright.data.dataset import Dataset
from trainwright.data.splits import split_arrays
from trainwright.errors import DataError


def rows(*, split_seed: int = 0) -> Dataset:
    if os.environ.get("RANK_ONE_FAILS") and distributed.is_initialized() and distributed.get_rank():
        raise DataError("no rows for rank 1")
    generator = torch.Generator().manual_seed(int(os.environ.get("WHICH_ROWS", "0")))
    x = torch.randn(200, 5, generator=generator)
    return split_arrays("rows", x, (x[:, :3] > 0).long(), split_seed=split_seed)


def texts(*, split_seed: int = 0) -> Dataset:
    generator = torch.Generator().manual_seed(0)
    tokens = torch.randint(0, 256, (120, 20), generator=generator)
    lengths = torch.randint(1, 21, (120, 1), generator=generator)
    tokens = tokens.masked_fill(torch.arange(20) >= lengths, PADDING)
    columns = {"text": Tokens(length=20, tokenizer="bytes")}
    return split_arrays("texts", {"text": tokens}, None, columns=columns, split_seed=split_seed)
"""


OWN = {"rows": "multilabel", "texts": "language"}  # and what is learned


@pytest.fixture
def own_rows(tmp_path, monkeypatch):
    """`data=rows` is there, with three labels an example; WHICH_ROWS says which rows they are.

    So is `data=texts`, of 1 to 20 tokens each, and then padding.
    """
    (tmp_path / "loaders_of_rows.py").write_text(CODE)
    folder = tmp_path / "configs" / "data"
    folder.mkdir(parents=True)
    for name, task in OWN.items():
        (folder / f"{name}.yaml").write_text(
            f"# @package _global_\ndefaults:\n  - override /task: {task}\n"
            f"data:\n  _target_: loaders_of_rows.{name}\n  split_seed: 0\n"
        )
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    return "data=rows"

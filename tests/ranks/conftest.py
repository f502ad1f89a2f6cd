"""Data of a user's own, which all ranks load: with labels, or not the same on all of them."""

import pytest

CODE = """
import os

import torch
from torch import distributed
from trainwright.data.dataset import Dataset
from trainwright.data.splits import split_arrays
from trainwright.errors import DataError


def rows(*, split_seed: int = 0) -> Dataset:
    if os.environ.get("RANK_ONE_FAILS") and distributed.is_initialized() and distributed.get_rank():
        raise DataError("no rows for rank 1")
    generator = torch.Generator().manual_seed(int(os.environ.get("WHICH_ROWS", "0")))
    x = torch.randn(200, 5, generator=generator)
    return split_arrays("rows", x, (x[:, :3] > 0).long(), split_seed=split_seed)
"""


@pytest.fixture
def own_rows(tmp_path, monkeypatch):
    """`data=rows` is there, with three labels an example; WHICH_ROWS says which rows they are."""
    (tmp_path / "loaders_of_rows.py").write_text(CODE)
    folder = tmp_path / "configs" / "data"
    folder.mkdir(parents=True)
    defaults = "# @package _global_\ndefaults:\n  - override /task: multilabel\n"
    (folder / "rows.yaml").write_text(
        f"{defaults}data:\n  _target_: loaders_of_rows.rows\n  split_seed: 0\n"
    )
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    return "data=rows"

"""Datasets that a process holds before its task begins, so that no job has to read them again."""

from collections.abc import Callable, Mapping
from typing import Any

from omegaconf import DictConfig

from trainwright.config.build import plain
from trainwright.config.plan import data_section
from trainwright.data.dataset import Dataset

FindData = Callable[[Mapping[str, Any]], Dataset | None]  # of a config's section `data`


def no_data(node: Mapping[str, Any]) -> Dataset | None:
    """For processes that hold no dataset."""
    return None


def load_data(node: Mapping[str, Any]) -> Dataset | None:
    """The dataset that a config's section `data` describes; None where that fails."""
    try:
        return data_section(plain(DictConfig(dict(node)))).build(Dataset, {"learned": None})
    except Exception:
        return None

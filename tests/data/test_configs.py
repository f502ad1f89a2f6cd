"""The YAML files of the data group say what the loaders take."""

import importlib
import inspect
from pathlib import Path

import pytest
import yaml
from omegaconf import OmegaConf

from trainwright.config.plan import GIVEN
from trainwright.data.dataset import Dataset
from trainwright.data.images.augment import make_augment

FILES = sorted((Path(__file__).parents[2] / "configs" / "data").glob("*.yaml"))


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_a_data_config_names_every_parameter_of_its_loader_and_no_other(path):
    text = path.read_text()
    assert text.startswith("# ")
    # As it is beside a model that is not pretrained.
    settings = OmegaConf.to_container(OmegaConf.create(yaml.safe_load(text)), resolve=True)
    module, name = settings.pop("_target_").rsplit(".", 1)
    loader = getattr(importlib.import_module(module), name)
    parameters = inspect.signature(loader).parameters
    augment = settings.pop("augment", {})
    settings.pop("defaults", None)
    assert settings.pop("balance", False) is False
    assert set(settings) == set(parameters) - set(GIVEN["data"])
    assert all(p.kind is p.KEYWORD_ONLY for p in parameters.values())
    assert inspect.signature(loader).return_annotation is Dataset
    assert make_augment(augment, input_shape=(3, 32, 32)) is None
    for key, value in settings.items():
        default = parameters[key].default
        if default is inspect.Parameter.empty:
            assert value == "???"
        elif path.stem not in ("fashion_mnist", "kmnist", "diabetes") or key != "name":
            assert value == default

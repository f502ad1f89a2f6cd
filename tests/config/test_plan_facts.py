"""What a plan takes, and what it promises by name before there are data."""

import pytest
from omegaconf import OmegaConf

from trainwright.config.plan import GIVEN, Plan
from trainwright.data.sources.digits import load_digits_dataset
from trainwright.errors import ConfigError


def test_a_model_is_given_what_the_plan_says():
    facts = load_digits_dataset().info.facts
    assert {*facts, "train_inputs", "architecture"} == set(GIVEN["model"])


@pytest.mark.parametrize("wrong", [1, 0.5, "mine", {"mine": 3}])
@pytest.mark.parametrize("key", ["hooks", "task.metrics"])
def test_named_objects_that_are_no_sections_are_refused(composed, key, wrong):
    config = composed("data=digits", "model=mlp")
    OmegaConf.update(config, key, wrong, force_add=True)
    with pytest.raises(ConfigError, match=f"{key}.*each of them is a section|{key}.*must be a"):
        Plan.of(config)

"""Metrics are named after classes, and those as people like; MLflow need not be there to know."""

import re

import pytest

from trainwright.hooks.loggers.mlflow import metric_name

VALID = r"^[/\w.\- :]*$"  # mlflow.utils.validation.validate_param_and_metric_name of MLflow 3


@pytest.mark.parametrize(
    ("name", "known_as"),
    [
        ("validation/discriminator/loss", "validation/discriminator/loss"),
        ("health/diversity/t-shirt 2.0", "health/diversity/t-shirt 2.0"),
        ("health/class_share/größe 日本", "health/class_share/größe 日本"),
        ("health/class_share/C++", "health/class_share/C__"),
        ("health/diversity/cat (black) & dog", "health/diversity/cat _black_ _ dog"),
    ],
)
def test_a_name_is_one_that_mlflow_takes(name, known_as):
    assert metric_name(name) == known_as
    assert re.match(VALID, known_as)

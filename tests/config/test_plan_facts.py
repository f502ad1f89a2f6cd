"""What a plan promises by name before there are data is what the data then give."""

from trainwright.config.plan import GIVEN
from trainwright.data.sources.digits import load_digits_dataset


def test_a_model_is_given_what_the_plan_says():
    facts = load_digits_dataset().info.facts
    assert {*facts, "train_inputs"} == set(GIVEN["model"])

"""The seed of what hides the examples of a private run: its coins and its noise."""

import json

from omegaconf import OmegaConf

from trainwright.config.plan import Plan
from trainwright.run.resume.changes import HARMLESS, KEYS
from trainwright.seeds import derive_seed

# What does not change the steps of a run, and may differ when it goes on.
_APART = ("run", "logger", "trust", "trainer.resume", *HARMLESS, *KEYS)


def private_seed(plan: Plan) -> int:
    """A function of the run's seed and of all that shapes its steps.

    So two runs of one seed, such as a fork or the jobs of a sweep, share no noise: from the
    difference of what they release it would be gone.
    """
    kept = OmegaConf.to_container(plan.kept)
    assert isinstance(kept, dict)
    for key in _APART:
        section, _, name = key.partition(".")
        inner = kept.get(section)
        if not name:
            kept.pop(section, None)
        elif isinstance(inner, dict):
            inner.pop(name, None)
    return derive_seed(plan.seed, "private", json.dumps(kept, sort_keys=True))

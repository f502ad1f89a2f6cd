"""What makes two jobs the same: the hash of what can change their results, and of nothing else."""

import hashlib
import json
import re
from collections.abc import Iterable, Mapping
from typing import Any

from trainwright.targets import named_as_first

# Where files lie, how often a run looks at itself, and with how many threads it computes: none of
# it says what is learned. (Threads change the last bits of sums; a job keeps those it began with.)
IRRELEVANT = (
    "run",
    "sweep",
    "trust",
    "logger",
    "data.root",
    "trainer.log_every",
    "trainer.sample_every",
    "trainer.save_every",
    "trainer.events",
    "trainer.keep",
    "trainer.plots",
    "trainer.threads",
    "trainer.max_restarts",
    "trainer.rank_timeout",
    "trainer.resume",
    "fork.checkpoint",  # fork.sha256 says which it is
)
# What 0.1 did not say, with the values that change nothing.
NEUTRAL: Mapping[str, Any] = {
    "hooks": {},
    "trainer.tokens": None,
    "trainer.devices": None,
    "trainer.privacy": {"epsilon": None, "delta": 1e-5, "clip": 1.0},
    "trainer.shard": False,
    "trainer.sync_batchnorm": "auto",
    "task.metrics": {},
    "task.class_weights": None,
    "task.focal": 0.0,
    "task.coupling": "independent",
    "data.balance": False,
    "data.folds": None,
    "data.fold": 0,
    **dict.fromkeys(("data.augment.colour", "data.augment.erase"), 0),
    **dict.fromkeys(("data.augment.mixup", "data.augment.cutmix"), 0),
    "data.augment.trivial": False,
    "model.numbers": "plain",
    "model.embedding": 16,
    "model.resolution": 32,
    "model.sigma": 0.1,
}
NUM_DIGITS = 12  # of 64; 10,000 jobs collide with a probability of 2e-7


def job_id(config: Mapping[str, Any]) -> str:
    """The identity of a run: twelve hexadecimal digits of a SHA-256 over its resolved config.

    The same in every process and Python version: it is taken over JSON with sorted keys.
    """
    kept = without(config, IRRELEVANT)
    trainer = kept.get("trainer")
    if isinstance(trainer, Mapping) and isinstance(trainer.get("device"), str):
        # Which of several like devices it is does not matter.
        kept["trainer"] = {**trainer, "device": re.sub(r":\d+$", "", trainer["device"])}
    said = [path for path, neutral in NEUTRAL.items() if _at(kept, path) != neutral]
    kept = without(kept, NEUTRAL.keys() - said)
    return digest(named_as_first(kept))


def without(config: Mapping[str, Any], paths: Iterable[str]) -> dict[str, Any]:
    """The config without some of its sections (`run`) and keys in them (`data.root`)."""
    kept = {str(key): value for key, value in config.items()}
    for path in paths:
        section, _, key = path.partition(".")
        if not key:
            kept.pop(section, None)
        elif isinstance(kept.get(section), Mapping):
            kept[section] = without(kept[section], [key])
    return kept


def _at(config: Mapping[str, Any], path: str) -> Any:
    """The value of a key; None where there is none."""
    value: Any = config
    for part in path.split("."):
        value = value.get(part) if isinstance(value, Mapping) else None
    return value


def digest(value: Any) -> str:
    """Twelve hexadecimal digits for a value of plain JSON types."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:NUM_DIGITS]

"""Which settings of the trainer no run can have, or no private, federated or sharded one."""

from collections.abc import Mapping
from dataclasses import fields
from typing import Any

from trainwright.engine.clock import Clock, Duration
from trainwright.engine.settings import LENGTHS, TrainerSettings
from trainwright.errors import ConfigError


def check_trainer(options: TrainerSettings, *, has_length: bool) -> None:
    """Raise ConfigError for settings of the trainer that no run can have.

    `has_length`: whether another section says how long the run is.
    """
    if not has_length and all(getattr(options, name) is None for name in LENGTHS):
        raise ConfigError("trainer.epochs and trainer.steps are both null: one must say how long")
    if options.batch_size % options.accumulate:
        raise ConfigError(
            f"trainer.accumulate={options.accumulate}: it must divide "
            f"trainer.batch_size={options.batch_size}, so that all parts are equal"
        )
    if options.keep > 1 and options.evaluate_every in (0, "0"):
        raise ConfigError(
            f"trainer.keep={options.keep}: nothing is ever evaluated, so that none is the best\n"
            "  leave it out, or raise trainer.evaluate_every"
        )
    any_clock = Clock(num_examples=1, batch_size=1, total_steps=1, num_tokens=1)
    check_durations(options, any_clock)


def check_durations(options: TrainerSettings, clock: Clock) -> None:
    """Raise ConfigError for a duration that is none, or none on such data."""
    for field in fields(TrainerSettings):
        if field.type == Duration:
            try:
                clock.steps(getattr(options, field.name))
            except ValueError as error:
                raise ConfigError(f"trainer.{field.name}: {error}") from None


def check_private(
    settings: TrainerSettings, *, balance: bool, augment: Mapping[str, Any] | None
) -> None:
    """Raise ConfigError where a run is to be private, and a setting would break that."""
    if settings.privacy.epsilon is None:
        return
    shown = augment or {}
    rollback = "makes steps again otherwise, which costs more than was accounted for"
    refused = {
        "trainer.on_nonfinite=rollback": (settings.on_nonfinite == "rollback", rollback),
        "trainer.on_ill=rollback": (settings.on_ill == "rollback", rollback),
        "trainer.precision=fp16": (
            settings.precision == "fp16", "scales the loss by what the last came to"
        ),
        "trainer.compile=true": (settings.compile, "compiles no gradients of single examples"),
        "trainer.cuda_graph=on": (
            settings.cuda_graph == "on", "wants batches of one size, and these are drawn"
        ),
        "trainer.devices": (
            settings.devices not in (None, 1), "shares batches of one size, and these are drawn"
        ),
        "data.balance=true": (balance, "shows some examples more often than others"),
        "data.augment.mixup": (bool(shown.get("mixup")), "mixes examples with each other"),
        "data.augment.cutmix": (bool(shown.get("cutmix")), "mixes examples with each other"),
        "data.augment.flip=alternating": (
            shown.get("flip") == "alternating", "wants every example in every pass"
        ),
    }  # fmt: skip
    _refuse("trainer.privacy", refused)


def check_federated(settings: TrainerSettings, *, balance: bool) -> None:
    """Raise ConfigError where a setting of a federated run does not go with that."""
    length = next((name for name in LENGTHS if getattr(settings, name) is not None), None)
    if length is not None:
        raise ConfigError(
            f"trainer.{length} and federated.rounds are both set: a federated run lasts so many "
            f"rounds\n  leave trainer.{length} out"
        )
    refused = {
        "trainer.devices": (
            settings.devices not in (None, 1), "shares each batch, and clients have their own"
        ),
        "trainer.privacy": (
            settings.privacy.epsilon is not None,
            "counts the steps of one run, and each client would need an account of its own",
        ),
        "trainer.cuda_graph=on": (settings.cuda_graph == "on", "wants one step like the other"),
        "data.balance=true": (balance, "shows classes equally often, whoever holds them"),
        "trainer.shard=true": (settings.shard, "has no client's network whole"),
    }  # fmt: skip
    _refuse("trainer=federated", refused)


def check_sharded(settings: TrainerSettings) -> None:
    """Raise ConfigError where weights are to be sharded, and a setting does not go with that."""
    if not settings.shard:
        return
    refused = {
        "trainer.devices=1": (settings.devices == 1, "has nobody to share them with"),
        "trainer.privacy": (
            settings.privacy.epsilon is not None, "needs gradients of single examples"
        ),
        "trainer.compile=true": (settings.compile, "compiles networks that are whole"),
        "trainer.cuda_graph=on": (settings.cuda_graph == "on", "is of one process"),
    }  # fmt: skip
    _refuse("trainer.shard=true", refused)


def _refuse(what: str, refused: Mapping[str, tuple[bool, str]]) -> None:
    for key, (is_so, why) in refused.items():
        if is_so:
            raise ConfigError(f"{key} does not go with {what}: it {why}\n  leave one of them out")

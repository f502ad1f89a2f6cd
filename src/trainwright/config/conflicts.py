"""Which settings do not go with privacy, federated averaging, or shards, and why; no torch."""

from collections.abc import Mapping
from typing import Any

from trainwright.engine.settings import FederatedSettings, TrainerSettings
from trainwright.errors import ConfigError


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
    """Raise ConfigError where a run is to be federated, and a setting does not go with that.

    And for keys that have no effect where it is not.
    """
    wanted = settings.federated
    if wanted.clients is None:
        if wanted != FederatedSettings():
            raise ConfigError(
                "trainer.federated has no effect without trainer.federated.clients\n"
                "  trainer=federated has 20; or leave it out"
            )
        return
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
    }  # fmt: skip
    _refuse("trainer.federated", refused)


def check_sharded(settings: TrainerSettings) -> None:
    """Raise ConfigError where weights are to be sharded, and a setting does not go with that."""
    if not settings.shard:
        return
    refused = {
        "trainer.devices=1": (settings.devices == 1, "has nobody to share them with"),
        "trainer.privacy": (
            settings.privacy.epsilon is not None, "needs gradients of single examples"
        ),
        "trainer.federated": (
            settings.federated.clients is not None, "trains whole networks, one for each client"
        ),
        "trainer.compile=true": (settings.compile, "compiles networks that are whole"),
        "trainer.cuda_graph=on": (settings.cuda_graph == "on", "is of one process"),
    }  # fmt: skip
    _refuse("trainer.shard=true", refused)


def _refuse(what: str, refused: Mapping[str, tuple[bool, str]]) -> None:
    for key, (is_so, why) in refused.items():
        if is_so:
            raise ConfigError(f"{key} does not go with {what}: it {why}\n  leave one of them out")

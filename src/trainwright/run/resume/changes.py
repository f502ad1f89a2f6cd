"""What may be changed when a run goes on, and what each change does to it."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from omegaconf import DictConfig, OmegaConf

from trainwright.config.build import plain
from trainwright.config.from_environment import as_typed
from trainwright.config.validation import unknown_key
from trainwright.engine.settings import LENGTHS
from trainwright.errors import ConfigError

NOT_CHANGES = ("trainer.resume", "trust")
# Chosen anew, these begin anew (a logger: is told from here on). What they remember is of no use
# to another.
GROUPS = ("optimizer", "schedule", "logger")
# Sections whose keys may be changed one by one, and the keys that may not.
SECTIONS = ("trainer", "optimizer", "schedule", "data.augment", "logger", "federated")
KEYS = ("data.root", "data.path")
# What a private run may change, too.
HARMLESS = tuple(
    f"trainer.{name}" for name in ("log_every", "sample_every", "save_every", "plots", "threads")
)
# Why a run must keep the rest.
KEPT = {
    "trainer.batch_size": "every count of steps would mean another number of examples",
    **dict.fromkeys(
        ("federated.clients", "federated.split", "federated.alpha"),
        "clients would hold other examples",
    ),
    **dict.fromkeys(
        ("federated.fraction", "federated.epochs"),
        "every count of rounds would mean another number of examples",
    ),
    "trainer": "set its keys one by one",
    "experiment": "it is another run; set single keys",
    "model": "the weights would not fit another network",
    "task": "what has been learned and measured so far would be something else",
    "data": "it has been trained, chosen and compared on these examples",
    "fork": "it has begun with these weights, and frozen some",
    "seed": "every batch and every draw follows from it",
    "run": "a run is where its folder is: move that",
}
LENGTH_KEYS = {"federated.rounds", *(f"trainer.{name}" for name in LENGTHS)}
WHOLE_RUN = "100%"


@dataclass(frozen=True)
class Change:
    """A key with another value than before."""

    key: str
    old: Any
    new: Any
    begins_anew: str = ""  # what does, if anything

    def __str__(self) -> str:
        effect = f"{self.begins_anew} begins anew" if self.begins_anew else "applied"
        if self.old == self.new and not self.begins_anew:
            return f"{self.key}: {_shown(self.new)}, as before"
        return f"{self.key}: {_shown(self.old)} -> {_shown(self.new)}, {effect}"


def apply_changes(
    stored: DictConfig, typed: DictConfig, overrides: Sequence[str], *, step: int, total: int
) -> list[Change]:
    """Put what was typed into the config of the run, and return what that changes.

    `step` is where the run goes on, `total` how many steps it was to have. A run that is made
    longer or shorter keeps its schedule unless `trainer.schedule_until` is typed. Raises
    ConfigError for a key that does not exist, or that a run must keep.
    """
    keys = [key_of(o) for o in overrides if key_of(o) not in NOT_CHANGES]
    _check_private(keys, stored)
    _check(keys, [key_of(o) for o in overrides if o.startswith("~")], stored)
    before = DictConfig(OmegaConf.to_container(stored))
    for group in (key for key in keys if key in GROUPS):
        OmegaConf.update(stored, group, typed.get(group), force_add=True, merge=False)
    if "schedule" in keys:
        OmegaConf.update(stored, "trainer.schedule_from", step)
        OmegaConf.update(stored, "trainer.schedule_until", WHOLE_RUN)
    for key in keys:
        if key not in GROUPS:
            OmegaConf.update(stored, key, as_typed(typed, key), force_add=True)
    _settle_length(stored, keys)
    is_chosen = bool({"schedule", "trainer.schedule_until"} & set(keys))
    if LENGTH_KEYS & set(keys) and not is_chosen:
        span = stored.trainer.get("schedule_until", WHOLE_RUN)  # 0.1's early runs had none
        if str(span).endswith("%"):
            share = float(str(span).rstrip("% ")) / 100
            stored.trainer.schedule_until = round(total * share)
    return [_change(key, before, stored) for key in keys]


def key_of(override: str) -> str:
    """The key of `key=value`, `++key=value` or `~key`."""
    return override.lstrip("+~").split("=")[0]


def begin_anew(changes: Iterable[Change]) -> set[str]:
    """The parts of a run whose memory is not taken over."""
    return {change.begins_anew for change in changes if change.begins_anew}


def _check(keys: Sequence[str], deleted: Sequence[str], stored: DictConfig) -> None:
    for key in keys:
        section = key.split(".")[0]
        may_change = key in (*GROUPS, *KEYS) or key.startswith(tuple(f"{s}." for s in SECTIONS))
        if key in KEPT or not may_change or key in deleted or key.endswith("._target_"):
            reason = KEPT.get(key, KEPT.get(section))
            if reason is None:
                raise unknown_key(key, [str(name) for name in stored])
            raise ConfigError(
                f"{key}: cannot be changed when a run goes on: {reason}\n"
                "  leave it out, or start a new run without trainer.resume\n"
                f"  can be changed: {', '.join((*(f'{s}.*' for s in SECTIONS), *GROUPS, *KEYS))}"
            )
    chosen = {key for key in keys if key in GROUPS}
    for key in keys:
        section, _, _ = key.partition(".")
        of_a_player = key.startswith("optimizer.players.")
        if section in chosen or key in GROUPS or of_a_player:
            continue
        parent = OmegaConf.select(stored, key.rpartition(".")[0])
        name = key.rpartition(".")[2]
        if not isinstance(parent, DictConfig) or name not in parent:
            options = [str(k) for k in (parent if isinstance(parent, DictConfig) else {})]
            raise unknown_key(key, options)
    if len(lengths := sorted(LENGTH_KEYS & set(keys))) > 1:
        raise ConfigError(f"{' and '.join(lengths)} are both given: a run has one length")


def _check_private(keys: Sequence[str], stored: DictConfig) -> None:
    """Raise ConfigError for a change of what a private run releases, as it was accounted for."""
    is_private = OmegaConf.select(stored, "trainer.privacy.epsilon") is not None
    harmless = (*HARMLESS, *KEYS)
    for key in keys:
        is_harmless = key in harmless or key.startswith("logger")
        if key.startswith("trainer.privacy") or (is_private and not is_harmless):
            raise ConfigError(
                f"{key}: cannot be changed when a private run goes on: its epsilon is that of all "
                "steps as planned\n  leave it out, or start a new run\n"
                f"  can be changed: {', '.join(harmless)}, logger"
            )


def _settle_length(stored: DictConfig, keys: Sequence[str]) -> None:
    for key in LENGTHS:
        if f"trainer.{key}" in keys and stored.trainer[key] is not None:
            stored.trainer.update({other: None for other in LENGTHS if other != key})


def _change(key: str, before: DictConfig, after: DictConfig) -> Change:
    old, new = (plain(as_typed(config, key)) for config in (before, after))
    if key == "logger":
        return Change(key, ", ".join(old or {}) or None, ", ".join(new or {}) or None)
    if key in GROUPS:
        return Change(key, _kind(old), _kind(new), begins_anew=key)
    if key == "trainer.ema" and (old is None) != (new is None):
        return Change(key, old, new, begins_anew="averages" if old is None else "")
    if key in ("trainer.early_stopping.metric", "trainer.early_stopping.mode") and old != new:
        return Change(key, old, new, begins_anew="early stopping")
    return Change(key, old, new)


def _kind(section: Mapping[str, Any]) -> str:
    return str(section["_target_"]).rpartition(".")[2]


def _shown(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return "null" if value is None else str(value)

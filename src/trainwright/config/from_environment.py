"""Values that a config takes from the environment: used, and never written down.

`${oc.env:NAME}` may well be a secret or a path of this machine alone, and a run's config is kept in
its folder and in every checkpoint, which people hand on. So only where files lie may come from the
environment, and what is kept is the default or null: who resumes the run types it again.
"""

from collections.abc import Iterator
from typing import Any

from omegaconf import DictConfig, OmegaConf

from trainwright.errors import ConfigError

# Where files are: the only settings that differ between machines, and what is kept instead.
PLACES = {"data.root": None, "data.path": None, "run.root": "outputs", "run.dir": None}


def check_environment(config: DictConfig) -> None:
    """Raise ConfigError for a value from the environment that a run would have to keep."""
    for key in sorted(environment_keys(config) - PLACES.keys()):
        raise ConfigError(
            f"{key}: its value comes from the environment, which is not kept with a run\n"
            f"  without it the run could not be built again: type the value, {key}=...\n"
            f"  only these may come from the environment: {', '.join(PLACES)}"
        )


def without_environment(config: DictConfig) -> DictConfig:
    """The config with everything resolved but what comes from the environment."""
    kept = DictConfig(OmegaConf.to_container(config, resolve=True))
    for key in environment_keys(config) & PLACES.keys():
        OmegaConf.update(kept, key, PLACES[key])
    return kept


def resolved_but_environment(config: DictConfig) -> Any:
    """The config as plain types, in which only what comes from the environment is yet to come."""
    found = DictConfig(OmegaConf.to_container(config, resolve=True))
    for key in environment_keys(config):
        OmegaConf.update(found, key, as_typed(config, key))
    return OmegaConf.to_container(found)


def as_typed(config: DictConfig, key: str) -> Any:
    """The value of a key; of one that comes from the environment the text that says so."""
    if key in environment_keys(config):
        return dict(_leaves("", OmegaConf.to_container(config, resolve=False)))[key]
    return OmegaConf.select(config, key)


def environment_keys(config: DictConfig) -> set[str]:
    """The keys whose values come from the environment, by themselves or through other keys."""
    raw = OmegaConf.to_container(config, resolve=False)
    texts = {key: text for key, text in _leaves("", raw) if "${" in text}
    found = {key for key, text in texts.items() if "oc.env" in text}
    if not found:
        return found
    values = {str(OmegaConf.select(config, key)) for key in found} - {""}
    through_others = {
        key for key in texts if any(v in str(OmegaConf.select(config, key)) for v in values)
    }
    return found | through_others


def _leaves(key: str, node: Any) -> Iterator[tuple[str, str]]:
    if isinstance(node, dict):
        for name, inner in node.items():
            yield from _leaves(f"{key}.{name}" if key else str(name), inner)
    elif isinstance(node, list):
        for index, inner in enumerate(node):
            yield from _leaves(f"{key}[{index}]", inner)
    elif isinstance(node, str):
        yield key, node

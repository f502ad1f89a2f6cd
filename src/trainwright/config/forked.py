"""The config of a run in the place of the shipped defaults, for a run that is forked from it.

Everything that `train` can be told is told in the same way: a group that is typed replaces the
run's section and brings what it brings, a key changes a value, and `-m` sweeps over both.
"""

import re
from collections.abc import Mapping
from typing import Any

from hydra.core.config_store import ConfigStore
from omegaconf import DictConfig, OmegaConf

from trainwright.config.compose import SECTIONS
from trainwright.config_folder import config_folder
from trainwright.errors import CheckpointError

NAME = "fork"  # of the primary config, in the place of `train`
_OF_RUN = "as-in-the-run-"  # how the options are called that are the run's own sections


def register_fork(stored: DictConfig, choices: Mapping[str, str], begin: Mapping[str, Any]) -> None:
    """Tell Hydra of a primary config that is a stored one, with the section `fork` as given.

    `choices`: what the run's options of groups are called. Raises CheckpointError for a config that
    Hydra would take for more than values.
    """
    config: Any = OmegaConf.load(config_folder() / "train.yaml")
    assert isinstance(config, DictConfig)
    store = ConfigStore.instance()
    plain = OmegaConf.to_container(stored)
    assert isinstance(plain, dict)
    options = {}
    for group in (*SECTIONS, "logger"):
        section = _anew(plain.get(group) or {}) if group == "trainer" else plain.get(group) or {}
        if "defaults" in section:  # it could choose other configs of this machine
            raise CheckpointError(f"its config has a list of defaults in {group}, which no run has")
        # Open to keys that are newer than the run; what is none is refused by who builds from it.
        brings = {group: section}
        if group == "trainer" and "federated" in plain:
            brings["federated"] = plain["federated"]
        node = {k: DictConfig(v, flags={"struct": False}) for k, v in brings.items()}
        options[group] = _OF_RUN + re.sub(r"[^\w.-]", "_", choices.get(group) or "own")
        store.store(group=group, name=options[group], node=node, package="_global_")
    config.defaults = [_default(entry, options) for entry in config.defaults]
    config.seed = plain["seed"]
    config["fork"] = dict(begin)
    store.store(name=NAME, node=config)


def run_name(choices: Mapping[str, str | None]) -> str:
    """What a run is called if nothing is typed: <model>-<data> by the options of these groups."""
    options = [(choices.get(group) or "own").removeprefix(_OF_RUN) for group in ("model", "data")]
    return "-".join(options)


def _default(entry: Any, options: Mapping[str, str]) -> Any:
    if not OmegaConf.is_dict(entry):
        return entry
    (group,) = entry
    return {group: options.get(str(group), entry[group])}


def _anew(trainer: Mapping[str, Any]) -> dict[str, Any]:
    """A trainer's section, without what belongs to that one run's way."""
    anew: dict[str, Any] = {**trainer, "resume": None}
    # In steps they were set, or counted when the run went on; a share means any run.
    if not str(trainer.get("schedule_until")).endswith("%"):
        anew |= {"schedule_from": 0, "schedule_until": "100%"}
    return anew

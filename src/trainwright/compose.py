"""What composing a config needs besides Hydra: the user's own configs, and open sections."""

from collections.abc import Sequence

from hydra import compose, initialize_config_dir
from hydra.core.config_store import ConfigStore
from omegaconf import DictConfig, OmegaConf

from trainwright.config_folder import config_folder, config_folders, own_config_folder
from trainwright.errors import ConfigError


def register_schema() -> None:
    """Make `optimizer.players` a section to which any player may be added from the shell.

    Hydra closes every section to new keys; which players there are is known only to the task.
    """
    players = OmegaConf.create({"players": OmegaConf.create({}, flags={"struct": False})})
    ConfigStore.instance().store(name="players", node=players)


def own_configs(arguments: Sequence[str]) -> list[str]:
    """The override by which Hydra also finds `./configs` of the working directory, if any."""
    given = any(argument.startswith("hydra.searchpath=") for argument in arguments)
    own = own_config_folder()
    return [] if given or own is None else [f"hydra.searchpath=[file://{own}]"]


def settle_length(config: DictConfig, overrides: Sequence[str]) -> None:
    """Let what was typed win where both `trainer.epochs` and `trainer.steps` are set.

    A model may bring a number of steps; who types epochs means those. Raises ConfigError where
    both were typed, or neither.
    """
    trainer = config.trainer
    if trainer.get("epochs") is None or trainer.get("steps") is None:
        return
    typed = {override.lstrip("+").split("=")[0] for override in overrides}
    chosen = [name for name in ("epochs", "steps") if f"trainer.{name}" in typed]
    if len(chosen) != 1:
        raise ConfigError(
            f"trainer.epochs={trainer.epochs} and trainer.steps={trainer.steps} are both set\n"
            "  a run has one length: set the other to null"
        )
    trainer["steps" if chosen == ["epochs"] else "epochs"] = None


def section_keys(section: str, arguments: Sequence[str]) -> list[str]:
    """The keys that a section has with the groups that `arguments` choose; for messages."""
    groups = {path.name for folder in config_folders() for path in folder.iterdir()}
    chosen = [a for a in arguments if a.split("=")[0] in groups]
    with initialize_config_dir(str(config_folder()), version_base="1.3"):
        config = compose("train", overrides=[*chosen, *own_configs(arguments)])
    node = OmegaConf.select(config, section) if section else config
    return [str(key) for key in node] if isinstance(node, DictConfig) else []

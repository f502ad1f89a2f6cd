"""Where configs are found. Imports nothing heavy: `train --help` reads it."""

from pathlib import Path

GROUPS = (
    "data",
    "model",
    "task",
    "optimizer",
    "schedule",
    "trainer",
    "logger",
    "sweep",
    "experiment",
)


def config_folder() -> Path:
    """The folder of the configs that ship with trainwright: in the wheel, or in the checkout."""
    package = Path(__file__).resolve().parent
    installed = package / "configs"
    return installed if installed.is_dir() else package.parents[1] / "configs"


def own_config_folder() -> Path | None:
    """`./configs` of the working directory, unless there is none or it is the one that ships."""
    own = Path.cwd() / "configs"
    return own if own.is_dir() and not own.samefile(config_folder()) else None


def config_folders() -> list[Path]:
    """Both, the shipped one first: where both have an option of a name, that one counts."""
    own = own_config_folder()
    return [config_folder()] if own is None else [config_folder(), own]


def group_options(group: str) -> list[str]:
    """The options of a group, sorted, the user's own among them; none if it is no group."""
    if group not in GROUPS:
        return []
    return sorted({path.stem for f in config_folders() for path in (f / group).glob("*.yaml")})

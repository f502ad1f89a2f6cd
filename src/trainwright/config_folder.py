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
    """Both, the user's own first: where both have an option of a name, that one counts.

    So a name that ships one day never takes the place of a user's. But a folder with a train.yaml
    is that of another program, and comes last.
    """
    own, shipped = own_config_folder(), config_folder()
    if own is None:
        return [shipped]
    return [shipped, own] if (own / "train.yaml").exists() else [own, shipped]


def group_options(group: str) -> list[str]:
    """The options of a group, sorted, the user's own among them; none if it is no group."""
    if group not in GROUPS:
        return []
    return sorted({path.stem for f in config_folders() for path in (f / group).glob("*.yaml")})

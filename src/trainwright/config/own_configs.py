"""The user's own configs, for Hydra: found, and read with a limit on what aliases expand to.

In YAML a few lines can stand for billions of values (`b: [*a, *a]`, `c: [*b, *b]`, ...), which
omegaconf would make one by one.
"""

from pathlib import Path

import yaml
from hydra._internal.core_plugins import file_config_source
from hydra._internal.sources_registry import SourcesRegistry
from hydra.core.config_search_path import ConfigSearchPath
from hydra.core.plugins import Plugins
from hydra.plugins.config_source import ConfigResult
from hydra.plugins.search_path_plugin import SearchPathPlugin

from trainwright.config_folder import config_folders, own_config_folder
from trainwright.errors import ConfigError

MOST_VALUES = 100_000  # the shipped configs have some 200 in all


class OwnConfigs(SearchPathPlugin):
    """Lets Hydra also look in `./configs` of the working directory, for completion too."""

    def manipulate_search_path(self, search_path: ConfigSearchPath) -> None:
        """Add the folder, if there is one, before or behind the one that ships."""
        own = own_config_folder()
        if own is None:
            return
        place = f"{FileConfigSource.scheme()}://{own}"
        if config_folders()[0] == own:
            search_path.prepend("own", place, anchor="main")
        else:
            search_path.append("own", place)


class FileConfigSource(file_config_source.FileConfigSource):
    """Files as Hydra reads them, but that one with aliases is looked at before it is read.

    It has the name of Hydra's own, which then leaves it in place where it registers once more: in
    the processes of other launchers (joblib, submitit), which are handed what is registered here.
    """

    @classmethod
    def register(cls) -> None:
        """Let Hydra read all files so: those of `--config-dir` and `hydra.searchpath` too."""
        Plugins.instance()  # which registers Hydra's own reader first
        SourcesRegistry.instance().types[cls.scheme()] = cls

    def load_config(self, config_path: str) -> ConfigResult:
        """Read a file. Raises ConfigError where its aliases stand for too many values."""
        path = Path(self.path) / self._normalize_file_name(config_path)
        if path.is_file():
            refuse_alias_bomb(path)
        return super().load_config(config_path)


def refuse_alias_bomb(path: Path) -> None:
    """Raise ConfigError for a YAML file whose aliases stand for more values than any config has."""
    data = path.read_bytes()
    if b"&" not in data or b"*" not in data:
        return
    count = _count_values(yaml.compose(data, Loader=yaml.SafeLoader), {})
    if count > MOST_VALUES:
        raise ConfigError(
            f"{path}: its aliases (*name) stand for more than {MOST_VALUES:,} values\n"
            "  write out what is meant, or let one key refer to another: ${name}"
        )


def _count_values(node: yaml.Node | None, counted: dict[int, float]) -> float:
    """How many values a node stands for with its aliases followed; infinite where it holds itself.

    Nodes that aliases share are counted once, and remembered by their identity.
    """
    if not isinstance(node, yaml.CollectionNode):
        return 1
    if id(node) not in counted:
        counted[id(node)] = float("inf")  # until it is counted: it may hold itself
        inner = [
            part for item in node.value for part in (item if isinstance(item, tuple) else [item])
        ]
        counted[id(node)] = 1 + sum(_count_values(part, counted) for part in inner)
    return counted[id(node)]

"""A few lines of YAML that stand for billions of values, in `./configs`."""

import subprocess
import sys

import pytest
from hydra import compose, initialize_config_dir
from hydra._internal.core_plugins.file_config_source import FileConfigSource
from hydra._internal.sources_registry import SourcesRegistry

from trainwright.config import own_configs
from trainwright.config.compose import register_schema
from trainwright.config.own_configs import refuse_alias_bomb
from trainwright.config_folder import config_folder
from trainwright.errors import ConfigError


def bomb(num_levels):
    """Lists of ten of the lists before: 10 ** num_levels values, and some."""
    lines = ["_target_: torch.nn.Linear", "a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    for level in range(1, num_levels):
        again = ", ".join([f"*a{level - 1}"] * 10)
        lines.append(f"a{level}: &a{level} [{again}]")
    return "\n".join(lines) + "\n"


ITSELF = "_target_: torch.nn.Linear\nwidths: &w [1, *w]\n"
# By hand: the mapping, `a` with its list of 2, `b` with a list of that list twice, and names.
SHARED = "a: &a [1, 2]\nb: [*a, *a]\n"
COUNT = 1 + (1 + 3) + (1 + 1 + 2 * 3)


@pytest.fixture
def own(tmp_path, monkeypatch):
    """Write a model of one's own; returns its path."""
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "configs" / "model" / "own.yaml"
    path.parent.mkdir(parents=True)

    def write(text):
        path.write_text(text)
        return path

    return write


def composed():
    register_schema()
    with initialize_config_dir(str(config_folder()), version_base="1.3"):
        return compose("train", overrides=["model=own"])


@pytest.mark.parametrize("text", [bomb(6), bomb(100), bomb(2000), ITSELF])
def test_a_config_whose_aliases_stand_for_too_much_is_refused_at_once(own, text):
    path = own(text)
    with pytest.raises(ConfigError) as caught:
        composed()
    assert str(path) in str(caught.value)
    assert caught.value.exit_code == 2
    assert len(str(caught.value).splitlines()) == 2


def test_an_option_of_ones_own_comes_before_one_that_ships_unless_the_folder_is_of_another_program(
    own,
):
    path = own("_target_: mine.Net\n")
    path.rename(path.with_name("mlp.yaml"))
    register_schema()

    def target():
        with initialize_config_dir(str(config_folder()), version_base="1.3"):
            return compose("train", overrides=["model=mlp"]).model._target_

    assert target() == "mine.Net"
    (path.parents[1] / "train.yaml").write_text("mine: 1\n")
    assert target() == "trainwright.nn.mlp.MLP"


@pytest.fixture
def named(tmp_path, monkeypatch):
    """A bomb in a folder that is not `./configs`."""
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "named" / "model" / "own.yaml"
    path.parent.mkdir(parents=True)
    path.write_text(bomb(100))
    return path


def test_a_bomb_in_a_folder_of_the_search_path_is_refused_too(named):
    register_schema()
    folder = f"hydra.searchpath=[file://{named.parents[1]}]"
    with (
        initialize_config_dir(str(config_folder()), version_base="1.3"),
        pytest.raises(ConfigError, match="stand for more than"),
    ):
        compose("train", overrides=["model=own", folder])


@pytest.mark.slow
def test_a_bomb_in_a_folder_that_is_named_is_refused_too(named):
    """Hydra puts that one in front of the others when it has asked for theirs."""
    command = "from trainwright.cli.train import main; main(['--config-dir', 'named', 'model=own'])"
    result = subprocess.run(
        [sys.executable, "-c", command], capture_output=True, text=True, check=False, timeout=100
    )
    assert result.returncode == 2, result.stderr
    assert str(named) in result.stderr


def test_aliases_that_stand_for_little_are_followed(own):
    own("_target_: torch.nn.Linear\n" + SHARED)
    assert composed().model.b == [[1, 2], [1, 2]]


@pytest.mark.parametrize("fewer", [0, 1])
def test_values_are_counted_as_by_hand(own, monkeypatch, fewer):
    monkeypatch.setattr(own_configs, "MOST_VALUES", COUNT - fewer)
    path = own(SHARED)
    if fewer:
        with pytest.raises(ConfigError):
            refuse_alias_bomb(path)
    else:
        refuse_alias_bomb(path)


def test_control_without_the_check_every_value_is_made(own, monkeypatch):
    own(bomb(3))
    monkeypatch.setattr(own_configs, "refuse_alias_bomb", lambda path: None)
    model = composed().model
    assert sum(len(ten) for row in model.a2 for ten in row) == 10**3


def test_hydra_may_register_its_own_reader_once_more():
    """As it does in the processes of other launchers, which are handed what is registered here."""
    register_schema()
    SourcesRegistry.instance().register(FileConfigSource)
    assert SourcesRegistry.instance().resolve("file") is own_configs.FileConfigSource

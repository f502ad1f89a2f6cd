"""What the tests of several folders start from: a config as `train` composes it, and a run."""

import contextlib
import copy
import functools
import hashlib
import os
import pickle
import resource
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import pytest
import torch
from browser import Browser
from hydra import compose, initialize_config_dir
from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import DictConfig, OmegaConf

from trainwright.config.compose import register_schema, settle_length
from trainwright.config.plan import Plan
from trainwright.config_folder import GROUPS, config_folder, own_config_folder
from trainwright.run.assemble.assemble import Assembly, assemble
from trainwright.run.request import Outcome, Request
from trainwright.run.resume.resume import resume_request
from trainwright.run.run import run


@pytest.fixture(scope="session", autouse=True)
def _one_thread():
    """One and two threads differ bitwise, and the tests share the machine."""
    torch.set_num_threads(int(os.environ.get("TEST_THREADS", "1")))


@pytest.fixture
def doubles(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Compute in float64, also where the code says `.float()`: no rounding then looks like a fault.

    What a test compares is the same formula in any type; tests/numerics/rounding.py has the rest.
    """
    monkeypatch.setattr(torch.Tensor, "float", torch.Tensor.double)
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


@pytest.fixture(scope="session", autouse=True)
def _own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """What a run keeps for the next one is shared by the tests, and not with their user."""
    shared = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:  # each worker has a folder of its own in one of all
        shared = shared.parent
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(shared / "cache"))
        patch.setenv("XDG_STATE_HOME", str(shared / "state"))
        yield


def _composed_by_hydra(*overrides: str) -> DictConfig:
    register_schema()
    with initialize_config_dir(str(config_folder()), version_base="1.3"):
        return compose("train", overrides=list(overrides))


@functools.cache
def _chosen(options: tuple[str, ...], own: Path | None) -> DictConfig:
    """The config with these options of groups, some of which may lie in the user's `own` folder.

    Where it is not the user's, the other worker may have composed it already.
    """
    if own is not None:
        return _composed_by_hydra(*options)
    name = hashlib.sha256(" ".join(options).encode()).hexdigest()
    kept = Path(os.environ["XDG_CACHE_HOME"]) / "composed" / name
    if not kept.exists():
        config = _composed_by_hydra(*options)
        with contextlib.suppress(OSError):  # in a test that has taken the disk away
            kept.parent.mkdir(parents=True, exist_ok=True)
            part = kept.with_suffix(f".{os.getpid()}")
            part.write_bytes(pickle.dumps(config))
            part.replace(kept)
        return config
    config = pickle.loads(kept.read_bytes())
    assert isinstance(config, DictConfig)
    return config


def _composed(*overrides: str) -> DictConfig:
    # Hydra takes 100 ms, nearly all of them for the files; and only options choose among these.
    options = [line for line in overrides if line.lstrip("+~").split("=")[0] in GROUPS]
    # To draw the plots takes longer than most of these runs: tests of plots ask for them.
    values = ["trainer.plots=false", *(line for line in overrides if line not in options)]
    config = copy.deepcopy(_chosen(tuple(options), own_config_folder()))
    parsed = OverridesParser.create().parse_overrides(values)
    ConfigLoaderImpl._apply_overrides_to_config(parsed, config)
    config = DictConfig(OmegaConf.to_container(config, resolve=False))
    settle_length(config, overrides)
    return config


@pytest.fixture(scope="session")
def composed_by_hydra() -> Callable[..., DictConfig]:
    """Compose the shipped configs by Hydra alone, from their files: what others are held to."""
    return _composed_by_hydra


@pytest.fixture(scope="session")
def composed() -> Callable[..., DictConfig]:
    """Compose the shipped configs with overrides, as the command line does."""
    return _composed


@pytest.fixture(scope="session")
def assembled() -> Callable[..., Assembly]:
    """Everything of a run, built but not started."""
    return lambda *overrides: assemble(Plan.of(_composed(*overrides)))


@pytest.fixture(scope="session")
def train() -> Callable[..., Outcome]:
    """Run as `train <overrides>` does, in this process, in a folder that must be new."""

    def start(folder: Path, *overrides: str) -> Outcome:
        config = _composed(*overrides, f"run.dir={folder}")
        return run(Request(Plan.of(config, name=folder.name, overrides=overrides)))

    return start


@pytest.fixture(scope="session")
def resume() -> Callable[..., Outcome]:
    """Go on as `train trainer.resume=<folder> <overrides>` does, in this process."""

    def start(folder: Path, *overrides: str) -> Outcome:
        typed = [f"trainer.resume={folder}", *overrides]
        return run(resume_request(_composed(*typed), typed))

    return start


@contextmanager
def _no_file_beyond(num_bytes: int) -> Iterator[None]:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (num_bytes, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.fixture
def no_file_beyond() -> Callable[[int], AbstractContextManager[None]]:
    """The kernel lets no file of this process grow beyond so many bytes, as a full disk would."""
    return _no_file_beyond


@pytest.fixture(scope="session")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    """One browser for all tests of a worker."""
    started = Browser(tmp_path_factory.mktemp("profile"))
    yield started
    started.close()

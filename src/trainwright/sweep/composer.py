"""The configs of many jobs, each the one that Hydra would compose, at a fraction of its price.

Hydra takes some 50 ms to compose a config from its files. But only overrides that choose an option
of a group decide which files these are; the others are applied to the result, in their order. So
the files are composed once for each combination of options.
"""

import copy
from collections.abc import Mapping, Sequence
from typing import Any

from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.types import HydraContext
from omegaconf import DictConfig, OmegaConf, open_dict

from trainwright.config.compose import check_sections, settle_length
from trainwright.config.forked import run_name
from trainwright.errors import ConfigError
from trainwright.sweep.identity import IRRELEVANT, job_id
from trainwright.sweep.job import Job
from trainwright.sweep.points import Point


class Composer:
    """Turns points of a sweep into jobs with frozen configs.

    `fixed` are the overrides that all jobs share. A point's own come after them; where the order
    matters to Hydra (a section that replaces what was set in it), that is the order.
    """

    def __init__(self, context: HydraContext, master: DictConfig, fixed: Sequence[str]) -> None:
        loader = context.config_loader
        assert isinstance(loader, ConfigLoaderImpl)
        self._loader = loader
        self._master = master
        self._fixed = [self._parse(line) for line in fixed]
        self._composed: dict[tuple[str, ...], tuple[DictConfig, Mapping[str, Any]]] = {}
        self._parsed: dict[str, Override] = {}
        HydraConfig.instance().set_config(master)  # for ${hydra:...} in configs

    @property
    def fixed_text(self) -> list[str]:
        """What all jobs share and was typed, but for what cannot change results, sorted."""
        return sorted(_line(o) for o in self._fixed if not _is_irrelevant(o))

    def job(self, number: int, point: Point, trial: int | None = None) -> Job:
        """The job of one point, composed and checked. Raises ConfigError."""
        lines = [f"{key}={value}" for key, value in point.items()]
        own = [self._cached(line) for line in lines]
        overrides = [*self._fixed, *own]
        groups = [override for override in overrides if self._chooses_an_option(override)]
        values = [override for override in overrides if override not in groups]
        base, choices = self._base(tuple(_line(override) for override in groups))
        config = copy.deepcopy(base)
        ConfigLoaderImpl._apply_overrides_to_config(values, config)
        check_sections(config)
        plain = OmegaConf.to_container(config, resolve=True)
        assert isinstance(plain, dict)
        frozen: dict[str, Any] = {str(key): value for key, value in plain.items() if key != "sweep"}
        typed = [_line(o) for o in overrides if not _is_about_sweep(o)]
        frozen = _with_one_length(frozen, typed)
        _refuse_single(frozen)
        frozen["run"] |= {"dir": None}
        return Job(
            id=job_id(frozen),
            number=number,
            name=run_name(frozen["run"]["name"], choices),
            point=point,
            overrides=tuple(typed),
            config=frozen,
            trial=trial,
        )

    def _base(self, groups: tuple[str, ...]) -> tuple[DictConfig, Mapping[str, Any]]:
        if groups not in self._composed:
            config = self._loader.load_sweep_config(self._master, list(groups))
            choices = OmegaConf.to_container(config.hydra.runtime.choices)
            assert isinstance(choices, dict)
            with open_dict(config):
                del config["hydra"]
            self._composed[groups] = config, {str(k): v for k, v in choices.items()}
        return self._composed[groups]

    def _chooses_an_option(self, override: Override) -> bool:
        """What Hydra itself asks of an override (hydra._internal.defaults_list.Overrides)."""
        is_group = self._loader.repository.group_exists(override.key_or_group)
        return is_group and not isinstance(override.value(), dict)

    def _cached(self, line: str) -> Override:
        if line not in self._parsed:
            self._parsed[line] = self._parse(line)
        return self._parsed[line]

    def _parse(self, line: str) -> Override:
        return OverridesParser.create(config_loader=self._loader).parse_override(line)


def _line(override: Override) -> str:
    assert override.input_line is not None
    return override.input_line


def _is_about_sweep(override: Override) -> bool:
    return override.key_or_group.split(".")[0] == "sweep"


def _is_irrelevant(override: Override) -> bool:
    key = override.key_or_group
    return key in IRRELEVANT or key.split(".")[0] in IRRELEVANT


def _with_one_length(frozen: dict[str, Any], typed: Sequence[str]) -> dict[str, Any]:
    """Epochs or steps: what was typed wins, as for a single run."""
    trainer = frozen["trainer"]
    if trainer.get("epochs") is None or trainer.get("steps") is None:
        return frozen
    config = DictConfig({"trainer": trainer})
    settle_length(config, typed)
    return {**frozen, "trainer": OmegaConf.to_container(config.trainer)}


def _refuse_single(frozen: Mapping[str, Any]) -> None:
    """Raise ConfigError for what means something for a single run alone."""
    if frozen["run"].get("dir") is not None:
        raise ConfigError(
            "run.dir is the folder of a single run\n  the folder of a sweep: sweep.dir=..."
        )
    if frozen["trainer"].get("resume") is not None:
        raise ConfigError(
            "trainer.resume goes on with a single run\n"
            "  a sweep goes on by itself when its command is typed again"
        )

"""The configs of many jobs, each the one that Hydra would compose, at a fraction of its price.

Hydra takes some 50 ms to compose a config from its files, and 15 ms to copy and resolve one. But
only overrides that choose an option of a group decide which files these are: so the files are
composed once for each combination of options. And most others give an existing key a number, a
word or a list of such, which is put into a copy of the resolved config.
"""

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override, OverrideType
from hydra.types import HydraContext
from omegaconf import DictConfig, OmegaConf, open_dict

from trainwright.config.compose import check_sections, settle_length
from trainwright.config.forked import run_name
from trainwright.config.from_environment import check_environment, resolved_but_environment
from trainwright.config.plan import Plan
from trainwright.config.trust import refuse_trust
from trainwright.engine.settings import LENGTHS
from trainwright.errors import ConfigError
from trainwright.sweep.identity import IRRELEVANT, job_id
from trainwright.sweep.job import Job
from trainwright.sweep.points.points import Point

Config = dict[str, Any]


class _Typed(NamedTuple):
    """One override as it was typed, and whether it chooses an option of a group."""

    line: str
    override: Override
    is_option: bool

    @property
    def section(self) -> str:
        return self.override.key_or_group.split(".")[0]


@dataclass(frozen=True)
class _Base:
    """What the chosen options and the fixed overrides make: `plain` is `config` resolved.

    None where keys refer to others, which a point may change.
    """

    config: DictConfig
    plain: Config | None
    choices: Mapping[str, Any]


class Composer:
    """Turns points of a sweep into jobs with frozen configs.

    `fixed` are the overrides that all jobs share. A point's own come after them; where the order
    matters to Hydra (a section that replaces what was set in it), that is the order.
    """

    def __init__(self, context: HydraContext, master: DictConfig, fixed: Sequence[str]) -> None:
        loader = context.config_loader
        assert isinstance(loader, ConfigLoaderImpl)
        self._loader = loader
        self._parser = OverridesParser.create(config_loader=loader)
        self._master = master
        self._sweep: Any = OmegaConf.to_container(master.sweep, resolve=True)
        self._bases: dict[tuple[str, ...], _Base] = {}
        self._parsed: dict[str, _Typed] = {}
        self._fixed = [self._parse(line) for line in fixed]
        HydraConfig.instance().set_config(master)  # for ${hydra:...} in configs

    @property
    def fixed_text(self) -> list[str]:
        """What all jobs share and was typed, but for what cannot change results, sorted."""
        kept = [t for t in self._fixed if not {t.section, t.override.key_or_group} & {*IRRELEVANT}]
        return sorted(typed.line for typed in kept)

    def job(self, number: int, point: Point, trial: int | None = None) -> Job:
        """The job of one point, composed and checked. Raises ConfigError."""
        own = [self._parse(f"{key}={value}") for key, value in point.items()]
        both = [*self._fixed, *own]
        base = self._base(tuple(typed.line for typed in both if typed.is_option))
        config = _resolved(base, [typed.override for typed in own if not typed.is_option])
        self._refuse_own_sweep(config.pop("sweep"), point)
        overrides = tuple(typed.line for typed in both if typed.section != "sweep")
        config = _with_one_length(config, overrides)
        plan = Plan.of(config, name=run_name(base.choices))
        _refuse_single(plan, config)
        config["run"] = config["run"] | {"dir": None}
        return Job(
            id=job_id(config),
            number=number,
            name=plan.name,
            point=point,
            overrides=overrides,
            config=config,
            trial=trial,
        )

    def _refuse_own_sweep(self, wanted: Config, point: Point) -> None:
        """Raise ConfigError where a value that is swept would change the sweep itself."""
        changed = [key for key in wanted if wanted[key] != self._sweep.get(key)]
        if changed:
            by = " ".join(f"{key}={value}" for key, value in point.items())
            raise ConfigError(
                f"{by} sets sweep.{changed[0]}, which belongs to a whole sweep, not to one job\n"
                "  make it a sweep of its own that does not sweep over this"
            )

    def _base(self, groups: tuple[str, ...]) -> _Base:
        if groups not in self._bases:
            config = self._loader.load_sweep_config(self._master, list(groups))
            choices = OmegaConf.to_container(config.hydra.runtime.choices)
            assert isinstance(choices, dict)
            with open_dict(config):
                del config["hydra"]
            fixed = [typed.override for typed in self._fixed if not typed.is_option]
            ConfigLoaderImpl._apply_overrides_to_config(fixed, config)
            raw = OmegaConf.to_container(config)
            assert isinstance(raw, dict)
            plain = None if _refers(raw) else {str(key): value for key, value in raw.items()}
            self._bases[groups] = _Base(config, plain, {str(k): v for k, v in choices.items()})
        return self._bases[groups]

    def _parse(self, line: str) -> _Typed:
        if line not in self._parsed:
            override = self._parser.parse_override(line)
            # What Hydra itself asks of one (hydra._internal.defaults_list.Overrides).
            is_group = self._loader.repository.group_exists(override.key_or_group)
            is_option = is_group and not isinstance(override.value(), dict)
            self._parsed[line] = _Typed(line, override, is_option)
        return self._parsed[line]


def _resolved(base: _Base, overrides: Sequence[Override]) -> Config:
    """The config with some values changed, checked and resolved. What is inside it is shared."""
    config: Any = base.plain
    for override in overrides:
        config = None if config is None else _changed(config, override)
    if config is None:
        slowly = copy.deepcopy(base.config)
        ConfigLoaderImpl._apply_overrides_to_config(list(overrides), slowly)
        check_environment(slowly)
        config = resolved_but_environment(slowly)
    check_sections(config)
    return {str(key): value for key, value in config.items()}


def _changed(config: Config, override: Override) -> Config | None:
    """A config with a new value for a key that has one; None for what Hydra must do itself."""
    value = override.value()
    if override.type is not OverrideType.CHANGE or override.package is not None:
        return None
    if isinstance(value, dict) or _refers(value):
        return None
    *sections, name = override.key_or_group.split(".")
    changed = inner = dict(config)
    for section in sections:
        if not isinstance(inner.get(section), dict):
            return None
        inner[section] = dict(inner[section])
        inner = inner[section]
    if name not in inner or isinstance(inner[name], dict):
        return None
    inner[name] = value
    return changed


def _refers(value: Any) -> bool:
    """Whether a value has something in it that OmegaConf would put another value in place of."""
    if isinstance(value, dict):
        return any(map(_refers, value.values()))
    if isinstance(value, list):
        return any(map(_refers, value))
    return isinstance(value, str) and ("${" in value or value == "???")


def _with_one_length(frozen: dict[str, Any], typed: Sequence[str]) -> dict[str, Any]:
    """Epochs, steps or tokens: what was typed wins, as for a single run."""
    num = sum(frozen["trainer"].get(name) is not None for name in LENGTHS)
    if num == 0 or (num == 1 and frozen.get("federated") is None):
        return frozen
    config = DictConfig({key: frozen[key] for key in ("trainer", "federated") if key in frozen})
    settle_length(config, typed)
    return {**frozen, "trainer": OmegaConf.to_container(config.trainer)}


def _refuse_single(plan: Plan, frozen: Config) -> None:
    """Raise ConfigError for what means something for a single run alone."""
    if plan.run.dir is not None:
        raise ConfigError(
            "run.dir is the folder of a single run\n  the folder of a sweep: sweep.dir=..."
        )
    if plan.settings.resume is not None:
        raise ConfigError(
            "trainer.resume goes on with a single run\n"
            "  a sweep goes on by itself when its command is typed again"
        )
    refuse_trust(frozen)

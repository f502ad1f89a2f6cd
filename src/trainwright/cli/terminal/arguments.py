"""The command line itself: flags that exist, overrides in one place. No torch."""

import argparse
import contextlib
from collections.abc import Sequence

from hydra._internal.utils import get_args_parser
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import OverrideParseException

from trainwright.config.compose import keys_of, similar_key
from trainwright.config.text_keys import as_meant
from trainwright.config_folder import group_options
from trainwright.errors import ConfigError

_ALONE = ("run", "multirun", "cfg", "info", "shell_completion")  # what Hydra does one of


def in_order(arguments: Sequence[str]) -> list[str]:
    """The overrides, then the flags: Hydra's own parser refuses overrides on both sides of a flag.

    Raises ConfigError for a flag that does not exist or has a wrong value.
    """
    parser = get_args_parser()
    parser.exit_on_error = False
    try:
        known, rest = parser.parse_known_args(list(arguments))
    except argparse.ArgumentError as error:
        flag = error.argument_name or "a flag"
        raise ConfigError(f"{flag}: {error.message}") from None
    wrong = next((argument for argument in rest if argument.startswith("-")), None)
    if wrong is not None:
        raise _no_such_flag(wrong)
    _check_flags(known)
    typed = [*known.overrides, *rest]
    _refuse_hydras_folders(typed)
    is_sweep = known.multirun or "hydra.mode=MULTIRUN" in typed
    overrides = as_meant(typed, swept=is_sweep)
    overrides = _of_each_job(overrides) if is_sweep else overrides
    if any(override.split("=")[0].lstrip("+") == "trainer.resume" for override in overrides):
        resumed = [_open_to_the_run(override) for override in overrides]
    else:
        resumed = overrides
    flags = [argument for argument in arguments if argument not in typed]
    return [*resumed, *flags]


def _of_each_job(overrides: list[str]) -> list[str]:
    """A key that the usual options lack is looked for in each job, where options are swept.

    (`model=gan,vae model.width=16`: Hydra would look in the usual model.)
    """
    groups = [override for override in overrides if group_options(override.split("=")[0])]
    if not any("," in override for override in groups):
        return overrides
    known, parser = keys_of(overrides), OverridesParser.create()

    def of_each(override: str) -> str:
        key, _, value = override.partition("=")
        section, _, name = key.rpartition(".")
        is_known = override in groups or name in known.get(section, ())
        if is_known or not value or key.startswith(("+", "~", "hydra")):
            return override
        with contextlib.suppress(OverrideParseException):  # which will be told
            if not parser.parse_override(override).is_sweep_override():
                return f"{key}=choice({value})"
        return override

    return [of_each(override) for override in overrides]


def _check_flags(known: argparse.Namespace) -> None:
    """Raise ConfigError for flags of Hydra's that do nothing together, or what is not done here."""
    given = [flag for flag in _ALONE if getattr(known, flag)]
    if len(given) > 1:
        flags = " and ".join(f"--{flag.replace('_', '-')}" for flag in given)
        raise ConfigError(f"{flags} exclude each other: each is another thing to do")
    for flag in ("resolve", "package"):
        if getattr(known, flag) and not known.cfg:
            raise ConfigError(f"--{flag} has no effect without --cfg\n  add --cfg job")
    if known.experimental_rerun:
        raise ConfigError(
            "--experimental-rerun reads a pickle, which may run anything\n"
            "  to go on with a run: train trainer.resume=...; for a new one like it: runs fork"
        )


# Hydra's own keys that would have no effect, or leave empty folders; and what has one.
_OURS = {
    "hydra.run.dir": "run.dir=...",
    "hydra.sweep.dir": "sweep.dir=...",
    "hydra.sweep.subdir": "sweep.dir=... for the sweep; a job's folder is named by what is swept",
    "hydra.job.chdir": "run.dir=... for its files; the working directory stays as it is",
    "hydra.output_subdir": "run.dir=...; the config lies in it as config.yaml",
}


def _refuse_hydras_folders(overrides: Sequence[str]) -> None:
    """Raise ConfigError for a key of Hydra's in the place of which trainwright has its own.

    Another sweeper has its own sweep folder.
    """
    keys = [override.lstrip("+~").partition("=")[0] for override in overrides]
    for key in keys:
        is_sweepers = key.startswith("hydra.sweep.") and "hydra/sweeper" in keys
        if key in _OURS and not is_sweepers:
            raise ConfigError(
                f"{key} has no effect: trainwright makes the folders of runs itself\n"
                f"  write {_OURS[key]}"
            )


def _open_to_the_run(override: str) -> str:
    """A key of a run that goes on may be one that the configs of today do not have.

    (`data.path` is no key of `data=digits`.) Hydra takes it all the same with `++`; whether the
    run has it is checked when the run has been read.
    """
    key = override.split("=")[0]
    is_plain = "=" in override and not override.startswith(("+", "~"))
    return f"++{override}" if is_plain and not group_options(key) else override


def _no_such_flag(flag: str) -> ConfigError:
    name = flag.lstrip("-").split("=")[0].replace("-", "_")
    key = similar_key(name, keys_of([]))
    hint = f"; did you mean {key}=...?" if key else "; `train --help` lists what there is"
    return ConfigError(
        f"{flag}: there is no such flag{hint}\n"
        "  settings are written without dashes: key=value, group=option"
    )

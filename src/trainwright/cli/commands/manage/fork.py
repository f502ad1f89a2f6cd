"""`runs fork`: a new run that begins with the weights of another."""

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from trainwright.cli.opening import CHECKPOINT, TRUST, add_run, add_settings
from trainwright.cli.terminal.keys import Key, listed, parse_keys, text
from trainwright.command_line import listing, literal, override
from trainwright.config_folder import GROUPS
from trainwright.errors import CheckpointError, ConfigError
from trainwright.runs.find import DEFAULT_ROOT, find_run
from trainwright.runs.record import Record
from trainwright.wording import nearest, printable

KEYS = (
    Key("freeze", listed, (), "layers that stay as they are: freeze=features,head.1 (nothing)"),
    Key("old_lr", text, None, "factor on the learning rate of what was taken: old_lr=0.1 (1)"),
    CHECKPOINT,
    TRUST,
)
EXAMPLES = """\
  runs fork last optimizer.lr=1e-4 trainer.epochs=3
  runs fork cnn-mnist data=fashion_mnist freeze=features
  runs fork cnn-mnist data=folder data.path=photos data.size=28 data.channels=1 old_lr=0.1
  runs fork gan-mnist data=kmnist freeze=discriminator.body.0 trainer.steps=2000
  runs fork flow-mnist task=shortcut trainer.steps=1000
  runs fork last -m optimizer.lr=1e-3,1e-4 seed=0,1,2

The new run has the config of the old one with what is typed, as for `train`, and a folder of its
own. It takes the best checkpoint's weights, averaged where there are averages. A layer that does
not fit begins anew: with other classes the last one. It prints what was taken and what was not.
`runs show RUN` lists the layers' names; in freeze= the beginning of a name stands for all below
it, and * for anything. The old run is not changed, and the new one does not need it."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The run, keys and overrides, and whether to sweep over them."""
    add_run(parser)
    add_settings(parser, "see below; as for train")
    parser.add_argument("-m", "--multirun", action="store_true", help="sweep, as `train -m` does")


def execute(arguments: argparse.Namespace) -> int:
    """Train; the exit code is that of `train`."""
    record = find_run(arguments.run, arguments.root)
    overrides = fork_overrides(record, arguments.settings, arguments.root)
    from trainwright.cli.train import train
    from trainwright.config.forked import NAME

    flags = ["-m"] if arguments.multirun else []
    return train([*overrides, *flags], debug=arguments.debug, config_name=NAME)


def fork_overrides(record: Record, words: Sequence[str], root: Path) -> list[str]:
    """What `train` is told to fork a run, whose config Hydra then knows under another name.

    Raises ConfigError, CheckpointError.
    """
    own, overrides = _parted(words)
    values = parse_keys(own, KEYS)
    path = record.checkpoint(values["checkpoint"]).absolute()
    from trainwright.config.compose import register_schema
    from trainwright.config.forked import register_fork
    from trainwright.config.stored import refuse_addresses, stored_config
    from trainwright.config.trust import trusted_targets

    metadata, sha256 = _labels(path)
    stored = stored_config(path, metadata)
    trusted_targets(stored, values["trust"], path.resolve().parent.parent)
    refuse_addresses(stored, [_key_of(override) for override in overrides])
    register_schema()
    begin = {"checkpoint": literal(str(path)), "sha256": sha256, "freeze": [], "old_lr": 1.0}
    register_fork(stored, record.choices, begin)
    # Like everything that is typed, so that it is kept, and may be several that are swept.
    if values["freeze"]:
        overrides.append(listing("fork.freeze", values["freeze"]))
    if values["old_lr"] is not None:
        overrides.append(f"fork.old_lr={values['old_lr']}")
    if root != DEFAULT_ROOT:
        overrides.insert(0, override("run.root", root))
    return overrides


def _parted(words: Sequence[str]) -> tuple[list[str], list[str]]:
    """The command's own keys, and what is for `train`. Raises ConfigError for a run to go on."""
    names = [key.name for key in KEYS]
    own = [word for word in words if word.split("=")[0] in names]
    overrides = [word for word in words if word not in own]
    known = {*names, *GROUPS, "seed", "run", "trust", "fork", "federated"}
    for key in map(_key_of, overrides):
        if key == "trainer.resume":
            raise ConfigError(
                "trainer.resume: a fork is a new run and begins at step 0\n"
                "  to go on with a run: runs resume RUN"
            )
        section = key.split(".")[0].split("/")[0]
        if section not in {*known, "hydra"}:
            rest = key.removeprefix(section)
            raise ConfigError(
                f"{printable(key)}: there is no such key{nearest(key, [k + rest for k in known])}\n"
                f"  keys are: {', '.join(names)}, and those of the run's config"
            )
    return own, overrides


def _key_of(override: str) -> str:
    return override.lstrip("+~").split("=")[0].split("@")[0]


def _labels(path: Path) -> tuple[dict[str, Any], str]:
    """A checkpoint's metadata and digest, by its header: no torch. The rest is checked later."""
    from trainwright.runs.header import check_header, read_metadata

    labels = check_header(path).labels
    if "trainwright" not in labels or "sha256" not in labels:
        raise CheckpointError(f"{path} was not written by trainwright: its metadata has no run")
    return read_metadata(path, labels["trainwright"]), labels["sha256"]

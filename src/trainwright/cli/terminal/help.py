"""The text of `train --help`, from the config folders alone: no Hydra, no torch, no waiting."""

import textwrap

from trainwright.config_folder import GROUPS, group_options

_USAGE = """\
train: compose a model, a dataset, an optimizer and a schedule, and train.

  train                                         an MLP on handwritten digits, in seconds
  train model=gan data=mnist                    one option a group
  train model=cnn data=mnist optimizer.lr=3e-3  any key, overridden
  train -m model=mlp,cnn seed=0,1,2             every combination, compared

Groups and their options (group=option):
{groups}

Overrides people use most:
  trainer.epochs=20            how long; or trainer.steps=5000
  optimizer.lr=1e-4            for one player: optimizer.players.generator.lr=1e-4
  trainer.batch_size=128       examples a step
  seed=1                       another initialisation, order and augmentation
  trainer.resume=outputs/...   go on with a run, exactly

Also:
  tune model=cnn       find a learning rate, with a plot, and the largest batch that fits
  init [FOLDER]        a starting folder: a network of your own, its config, a test
  model=gan --help     every key of an option, with its default, type and range
  --help keys          every key that there is
  --cfg job            print the composed config and stop (add: --package optimizer)
  -m, --multirun       comma-separated values are combined into jobs
  --shell-completion install=bash     tab completion; also zsh, fish (see the README)
  --quiet              print errors and the line with the result, and nothing else
  --debug              show the traceback of an error
  --version            print the version

Runs land in outputs/<date>/<time>-<model>-<data>. Configs of your own in ./configs are found
beside these, and modules in the working directory are importable."""


def help_text() -> str:
    """Usage, every group with its options, and the overrides that people use most."""
    width = max(len(group) for group in GROUPS)
    under = " " * (width + 4)
    lines = [
        textwrap.fill(
            f"  {group:<{width}}  {', '.join(group_options(group))}",
            100,
            subsequent_indent=under,
            break_long_words=False,
            break_on_hyphens=False,
        )
        for group in GROUPS
    ]
    return _USAGE.format(groups="\n".join(lines))

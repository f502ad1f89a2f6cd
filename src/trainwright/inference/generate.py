"""What a trained task makes up: from a seed, of a class, or on the way between two examples."""

from collections.abc import Sequence

import torch

from trainwright.errors import ConfigError
from trainwright.inference.trained import Trained, ability
from trainwright.tasks.show import MadeUp, Samples, Table, Text
from trainwright.wording import nearest

WHAT = "generate"


def require_generator(trained: Trained) -> None:
    """Raise ConfigError for a task that makes up nothing."""
    ability(trained, WHAT, "generate")


def class_indices(names: Sequence[str], trained: Trained) -> list[int]:
    """The classes that are asked for, by name or by number from 0. Raises ConfigError."""
    require_generator(trained)
    known = tuple(getattr(trained.task, "generated_classes", ()))
    if not known:
        raise ConfigError("class=...: this run was not told of classes; it draws what it likes")
    found = []
    for name in names:
        if name in known:
            found.append(known.index(name))
        elif name.isascii() and name.isdigit() and int(name) < len(known):
            found.append(int(name))
        else:
            listed = ", ".join(known[:20]) + (", ..." if len(known) > 20 else "")
            raise ConfigError(
                f"class={name}: there is no such class{nearest(name, known)}\n"
                f"  classes are: {listed}"
            )
    return found


@torch.no_grad()
def make_up(
    trained: Trained, num: int, *, frames: int | None, seed: int, classes: Sequence[int]
) -> MadeUp:
    """`num` examples of these classes in turn, or as the task likes.

    `frames`: instead, so many strips of `frames` examples, from one to another. Raises ConfigError
    for a task that cannot, or returns nothing that can be written.
    """
    does, options = (WHAT, {}) if frames is None else ("interpolate", {"frames": frames})
    make = ability(trained, does, does)
    with trained.placement.autocast():
        made = make(num, seed=seed, classes=classes, **options)
    if not isinstance(made, Samples | Text | Table):
        raise ConfigError(
            f"{type(trained.task).__name__}.{does} returned a {type(made).__name__}\n"
            "  it must be Samples, Text or a Table, of trainwright.tasks.show"
        )
    return made

"""What a trained task makes up: from a seed, of a class, or on the way between two examples."""

from collections.abc import Sequence

import torch

from trainwright.errors import ConfigError
from trainwright.inference.trained import Trained, ability
from trainwright.tasks.show import Samples
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
def draw(trained: Trained, num: int, *, seed: int, classes: Sequence[int] = ()) -> Samples:
    """`num` examples of these classes in turn, or as the task likes."""
    make = ability(trained, WHAT, "generate")
    with trained.placement.autocast():
        samples: Samples = make(num, seed=seed, classes=classes)
    return samples


@torch.no_grad()
def interpolate(
    trained: Trained, num: int, *, frames: int, seed: int, classes: Sequence[int] = ()
) -> Samples:
    """`num` strips of `frames` examples, from one to another."""
    make = ability(trained, "interpolate", "interpolate")
    with trained.placement.autocast():
        samples: Samples = make(num, frames=frames, seed=seed, classes=classes)
    return samples

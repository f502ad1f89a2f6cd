"""What a trained task makes up: from a seed, of a class, or on the way between two examples."""

import inspect
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch

from trainwright.errors import ConfigError
from trainwright.inference.trained import Trained, ability
from trainwright.tasks.show import MadeUp, Piece, Samples, Table, Text, Writing
from trainwright.wording import nearest

WHAT = "generate"
NUM = 64  # examples, where neither the user nor the task says how many


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


def draw(
    trained: Trained,
    num: int | None,
    *,
    seed: int,
    classes: Sequence[int] = (),
    options: Mapping[str, Any] | None = None,
) -> MadeUp:
    """`num` examples of these classes in turn, or as the task likes.

    None: as many as the task makes by itself, or 64. `options`: more that its `generate` takes.
    """
    taken = inspect.signature(ability(trained, WHAT, "generate")).parameters
    first = next(iter(taken.values()), None)
    if num is None:
        has_default = first is not None and isinstance(first.default, int)
        num = first.default if first is not None and has_default else NUM
    if "classes" in taken:
        return _made_up(trained, WHAT, num, seed=seed, classes=classes, **(options or {}))
    return _made_up(trained, WHAT, num, seed=seed, **(options or {}))


def interpolate(
    trained: Trained, num: int, *, frames: int, seed: int, classes: Sequence[int] = ()
) -> MadeUp:
    """`num` strips of `frames` examples, from one to another."""
    return _made_up(trained, "interpolate", num, frames=frames, seed=seed, classes=classes)


@torch.no_grad()
def _made_up(trained: Trained, does: str, num: int, **how: Any) -> MadeUp:
    """What a method of the task returns. Raises ConfigError where that is nothing to be written."""
    make = ability(trained, does, does)
    try:
        with trained.placement.autocast():
            made = make(num, **how)
    except ValueError as error:
        raise ConfigError(str(error)) from error
    if isinstance(made, Writing):
        return Writing(_computed(trained, made.pieces), made.num)
    if not isinstance(made, Samples | Text | Table):
        raise ConfigError(
            f"{type(trained.task).__name__}.{does} returned a {type(made).__name__}\n"
            "  it must be Samples, Text, a Table or Writing, of trainwright.tasks.show"
        )
    return made


def _computed(trained: Trained, pieces: Iterator[Piece]) -> Iterator[Piece]:
    with torch.no_grad(), trained.placement.autocast():
        yield from pieces

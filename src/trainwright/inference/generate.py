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


def make_up(trained: Trained, num: int | None, **how: Any) -> MadeUp:
    """As `begin`, with a text's pieces computed as they are asked for."""
    made = begin(trained, num, **how)
    return Writing(_computed(trained, made.pieces), made.num) if isinstance(made, Writing) else made


@torch.no_grad()
def begin(
    trained: Trained,
    num: int | None,
    *,
    frames: int | None,
    seed: int,
    classes: Sequence[int],
    options: Mapping[str, Any] | None = None,
) -> MadeUp:
    """`num` examples of these classes in turn, or as the task likes.

    The pieces of a text are to be asked for without gradients, in the placement's `autocast`.

    None: as many as the task makes by itself, or 64. `frames`: instead, so many strips of `frames`
    examples, from one to another. `options`: more that the task's `generate` takes. Raises
    ConfigError for a task that cannot, or returns nothing that can be written.
    """
    does = WHAT if frames is None else "interpolate"
    make = ability(trained, does, does)
    how = {**(options or {}), "seed": seed, **({} if frames is None else {"frames": frames})}
    taken = inspect.signature(make).parameters
    if "classes" in taken or frames is not None:
        how["classes"] = classes
    for name in set(options or {}) - set(taken):
        raise ConfigError(f"{name}: this run takes {', '.join(taken)}{nearest(name, tuple(taken))}")
    if num is None:
        default = next((p.default for p in taken.values()), None)
        num = default if isinstance(default, int) else NUM
    try:
        with trained.placement.autocast():
            made = make(num, **how)
    except ValueError as error:
        raise ConfigError(str(error)) from error
    if not isinstance(made, Samples | Text | Table | Writing):
        raise ConfigError(
            f"{type(trained.task).__name__}.{does} returned a {type(made).__name__}\n"
            "  it must be Samples, Text, a Table or Writing, of trainwright.tasks.show"
        )
    return made


def _computed(trained: Trained, pieces: Iterator[Piece]) -> Iterator[Piece]:
    with torch.no_grad(), trained.placement.autocast():
        yield from pieces

"""The code that an exported folder needs to be used without trainwright, copied into it."""

import importlib
import inspect
import re
from pathlib import Path

from trainwright import __version__

PACKAGE = "network"
_OURS = "trainwright.nn."
# What a graph does not hold, each of one module that needs nothing of ours.
IMAGE, VIEWS = "image", "views"
_ALONE = {IMAGE: "trainwright.data.images.decode", VIEWS: "trainwright.nn.views"}


def write_module(name: str, folder: Path) -> None:
    """Copy the module for IMAGE or VIEWS to `folder`."""
    _write(folder / f"{name}.py", inspect.getsource(importlib.import_module(_ALONE[name])))


def write_source(target: str, folder: Path) -> None:
    """Copy the module of our network `target`, and those that it imports, to `folder`/network.

    A network of the user's own is where it was: nothing is copied.
    """
    if not target.startswith(_OURS):
        return
    (folder / PACKAGE).mkdir()
    left, written = [target.rpartition(".")[0]], set()
    while left:
        module = left.pop()
        name = module.removeprefix(_OURS)
        code = inspect.getsource(importlib.import_module(module))
        imported = re.findall(rf"^from {re.escape(_OURS)}([\w.]+) import", code, flags=re.MULTILINE)
        left += [_OURS + other for other in imported if other not in written]
        written.add(name)
        path = folder / PACKAGE / f"{name.replace('.', '/')}.py"
        path.parent.mkdir(exist_ok=True)
        _write(path, code.replace(f"from {_OURS}", f"from {PACKAGE}."))


def _write(path: Path, code: str) -> None:
    path.write_text(f"# A part of trainwright {__version__}, under the MIT licence.\n{code}")


def import_of(target: str) -> str:
    """How a script in the exported folder imports the network."""
    module, _, factory = target.rpartition(".")
    if module.startswith(_OURS):
        module = f"{PACKAGE}.{module.removeprefix(_OURS)}"
    return f"from {module} import {factory}"

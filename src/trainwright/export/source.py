"""The code of a network beside its bare weights, so that these can be used without trainwright."""

import importlib
import inspect
import re
from pathlib import Path

from trainwright import __version__

PACKAGE = "network"
_OURS = "trainwright.nn."


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
        imported = re.findall(rf"^from {re.escape(_OURS)}(\w+) import", code, flags=re.MULTILINE)
        left += [_OURS + other for other in imported if other not in written]
        written.add(name)
        code = code.replace(f"from {_OURS}", f"from {PACKAGE}.")
        header = f"# A part of trainwright {__version__}, under the MIT licence.\n"
        (folder / PACKAGE / f"{name}.py").write_text(header + code)


def import_of(target: str) -> str:
    """How a script in the exported folder imports the network."""
    module, _, factory = target.rpartition(".")
    if module.startswith(_OURS):
        module = f"{PACKAGE}.{module.removeprefix(_OURS)}"
    return f"from {module} import {factory}"

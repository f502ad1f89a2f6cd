"""`runs sweep`: the verdict on a sweep, also while it runs."""

import argparse
from collections.abc import Sequence
from pathlib import Path

from trainwright.cli.terminal.keys import Key
from trainwright.errors import ConfigError
from trainwright.files import typed_path
from trainwright.runs.elsewhere import noted
from trainwright.sweep.store import Store
from trainwright.sweep.verdict.report import report
from trainwright.wording import nearest, printable

KEYS: Sequence[Key] = ()
EXAMPLES = """\
  runs sweep last
  runs sweep outputs/sweeps/mlp-digits-lr-seed-3fa2c1
  runs sweep lr-seed                      a piece of its folder's name

Prints the settings from best to worst, and whether the best one leads by more than seed noise;
updates sweep.csv, sweep.json and plots/ in the sweep's folder. Works while the sweep runs, too."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Which sweep."""
    parser.add_argument(
        "sweep",
        metavar="SWEEP",
        nargs="?",
        default="last",
        help="a sweep's folder, a piece of its name, a run of it, or last (the default)",
    )


def execute(arguments: argparse.Namespace) -> int:
    """Print the verdict. Raises ConfigError where there is no such sweep."""
    from trainwright.sweep.verdict.pictures import draw

    store = find_sweep(arguments.sweep, arguments.root)
    print(f"sweep: {store.path}")
    draw(report(store), store)
    return 0


def find_sweep(name: str, root: Path) -> Store:
    """The sweep that is meant: a path, `last`, or a piece of one sweep's name below `root`."""
    path = typed_path(name)
    here = Path() if name == "last" else path
    for folder in (here, *([path.parent] if path.exists() else [])):
        if (folder / ".sweep").is_dir():
            return Store(folder)
    beside = [folder / ".sweep" / "plan.json" for folder in noted(root)]
    known = [*root.rglob(".sweep/plan.json"), *(plan for plan in beside if plan.exists())]
    plans = sorted(known, key=lambda plan: plan.stat().st_mtime)
    sweeps = [plan.parent.parent for plan in plans]
    if name == "last" and sweeps:
        return Store(sweeps[-1])
    exact = [folder for folder in sweeps if name == folder.name]
    found = exact or [folder for folder in sweeps if name in folder.name]
    if len(found) == 1:
        return Store(found[0])
    if not sweeps:
        raise ConfigError(
            f"{printable(name)}: there are no sweeps below {printable(str(root))}\n"
            "  `train -m` makes them; to look elsewhere: --root=FOLDER"
        )
    several = f"\n  it could be {', '.join(f.name for f in found[:3])}" if found else ""
    hint = nearest(name, [folder.name for folder in sweeps])
    raise ConfigError(f"{printable(name)}: there is no single sweep of that name{hint}{several}")

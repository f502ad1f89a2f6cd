"""`runs average`: the mean of the networks that several sites have sent, as a run of its own."""

import argparse
import json
import sys
from pathlib import Path

from trainwright.cli.opening import CHECKPOINT, TRUST, add_run
from trainwright.cli.terminal.keys import Key, OneOf, parse_keys, text
from trainwright.cli.terminal.table import text_table
from trainwright.cli.torch_library import imports_of_torch
from trainwright.command_line import command
from trainwright.errors import ConfigError
from trainwright.files import typed_path
from trainwright.runs.find import find_run
from trainwright.wording import format_number, printable

KEYS = (
    Key(
        "weights",
        OneOf("examples", "equal"),
        "examples",
        "a site counts by its training examples (examples, the default), or as any other (equal)",
    ),
    Key("out", text, None, "the folder to make (outputs/<date>/<time>-average-<name>)"),
    CHECKPOINT,
    TRUST,
)
EXAMPLES = """\
  runs average site-a site-b site-c out=round-1
  runs average a.safetensors b.safetensors c.safetensors weights=equal
  runs fork round-1 data.path=photos run.dir=site-a       # at each site: the next round

Federated averaging by files (docs/federated.md): each site forks one run, trains on data that it
does not give away, and sends its folder, or the checkpoint in it. RUN may also be such a file. All
must have the same network, classes and normalisation, which forks of one run have. Averages are
weights and the statistics of batch normalisation; of a run with averaged weights those. DISTANCE is
how far a site is from the mean, as a share of it: one far from the others deserves a look. The new
folder can be evaluated, predicted with and forked; the old ones are not changed."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The runs or files, keys, the form of the output."""
    add_run(parser, nargs="+")
    parser.add_argument("--json", action="store_true", help="everything, as one object")


def execute(arguments: argparse.Namespace) -> int:
    """Average, write the folder, and say what each site has in it."""
    words = [word for word in arguments.runs if "=" in word and not Path(word).exists()]
    values = parse_keys(words, KEYS)
    named = [word for word in arguments.runs if word not in words]
    if not named:
        raise ConfigError("name two runs or more: runs average A B C")
    paths = [_checkpoint(word, arguments.root, values["checkpoint"]) for word in named]
    with imports_of_torch():
        from trainwright.inference.federated.average import average, told, write

    found = average(paths, values["weights"], trust=values["trust"])
    out = None if values["out"] is None else typed_path(values["out"])
    folder = write(found, arguments.root, exact=out)
    for note in found.notes:
        print(f"warning: {note}", file=sys.stderr)
    sites = told(found)
    if arguments.json:
        shown = {"folder": str(folder.path), "weights": values["weights"], "sites": sites}
        print(json.dumps({**shown, "notes": list(found.notes)}, indent=2))
        return 0
    header = ["SITE", "STEP", "EXAMPLES", "SHARE", "DISTANCE"]
    rows = [
        [
            word,
            f"{site['step']:,}",
            "unknown" if site["examples"] is None else f"{site['examples']:,}",
            f"{site['share']:.1%}",
            format_number(site["distance"]),
        ]
        for word, site in zip(named, sites, strict=True)
    ]
    print("\n".join(text_table(header, rows, right=header[1:])), end="\n\n")
    print(printable(f"folder: {folder.path}"))
    print(f"the next round: {command('runs', 'fork', str(folder.path))} run.dir=...")
    return 0


def _checkpoint(word: str, root: Path, which: str) -> Path:
    """The file that a word names, or the checkpoint of the run that it names."""
    path = typed_path(word)
    return path if path.is_file() else find_run(word, root).checkpoint(which)

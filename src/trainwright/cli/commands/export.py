"""`runs export`: a run's network as safetensors, torch.export or ONNX, ready to be used."""

import argparse
from pathlib import Path

from trainwright.catalogue.find import find_run
from trainwright.cli.keys import Key, listed, one_of, parse_keys, several_of, text

KEYS = (
    Key(
        "format",
        several_of("safetensors", "pt2", "onnx"),
        ("safetensors",),
        "one or more of: safetensors, the weights (default); pt2, torch.export; onnx",
    ),
    Key("out", text, None, "the folder to make (export-<run>)"),
    Key("checkpoint", one_of("best", "last"), "best", "which checkpoint: best (default) or last"),
    Key("trust", listed, (), "classes of your own that the run may build: trust=mine.Net"),
)
EXAMPLES = """\
  runs export last format=onnx
  runs export best:accuracy format=onnx,pt2 out=digits-model
  python export-120000-cnn-mnist/example.py seven.png

The folder holds the model, model.json (what goes in and comes out, normalisation, class names) and
example.py. What is in pt2 and onnx takes raw pixels or features, for normalisation is inside, and
batches of any size; both are read back and compared with the run's own outputs. onnx needs
trainwright[export]. The weights are the averaged ones where the run has averaged."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The run, and keys."""
    parser.add_argument("run", metavar="RUN", help="a path, last, best:<metric>, a piece of a name")
    parser.add_argument("settings", nargs="*", metavar="key=value", help="see below")


def execute(arguments: argparse.Namespace) -> int:
    """Write the folder and say what is in it."""
    values = parse_keys(arguments.settings, KEYS)
    record = find_run(arguments.run, arguments.root)
    checkpoint = record.checkpoint(values["checkpoint"])
    folder = Path(values["out"] or f"export-{record.path.resolve().name}").expanduser()
    # What can be refused without torch has been: that takes seconds to import.
    from trainwright.export.folder import export
    from trainwright.export.formats import FILES, check_installed
    from trainwright.inference.trained import load_trained

    for form in values["format"]:
        check_installed(form)
    trained = load_trained(checkpoint, trust=values["trust"], device="cpu")
    differences = export(trained, record.path.resolve().name, values["format"], folder)
    for form, difference in differences.items():
        told = "the weights, bit for bit"
        if form != "safetensors":
            told = f"within {difference:.1g} of the run's own outputs, batches of 1, 2 and 5"
        print(f"{folder / FILES[form]}: {told}")
    print(f"{folder / 'model.json'}")
    print(f"{folder / 'example.py'}")
    return 0

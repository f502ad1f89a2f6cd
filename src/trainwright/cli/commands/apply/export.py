"""`runs export`: a run's network as safetensors, torch.export or ONNX, ready to be used."""

import argparse

from trainwright.cli.opening import CALIBRATION, CHECKPOINT, TRUST, add_run, add_settings, open_run
from trainwright.cli.terminal.keys import Key, SeveralOf, parse_keys, text
from trainwright.errors import ConfigError
from trainwright.files import typed_path
from trainwright.runs.find import find_run

HF = "hf"
KEYS = (
    Key(
        "format",
        SeveralOf("safetensors", "pt2", "onnx", HF),
        ("safetensors",),
        "one or more of: safetensors, the weights (default); pt2, torch.export; onnx; or hf",
    ),
    Key("out", text, None, "the folder to make (export-<run>)"),
    CALIBRATION,
    CHECKPOINT,
    TRUST,
)
EXAMPLES = """\
  runs export last format=onnx
  runs export best:accuracy format=onnx,pt2 out=digits-model
  python export-120000-cnn-mnist/example.py seven.png
  runs export last format=hf out=my-gpt

The folder holds the model, model.json (what goes in and comes out, normalisation, class names) and
example.py: at most 20 lines that use the first of the formats without trainwright. The weights
alone (safetensors) come with the network's code; pt2 and onnx take raw pixels or features, with
the normalisation inside, in batches of any size, and are read back and compared with the run's own
outputs. onnx needs trainwright[export]. hf makes of a language model a folder that transformers
loads, with its tokenizer (needs trainwright[hf]). The weights are the averaged ones if the run has
them."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The run, and keys."""
    add_run(parser)
    add_settings(parser)


def execute(arguments: argparse.Namespace) -> int:
    """Write the folder and say what is in it."""
    values = parse_keys(arguments.settings, KEYS)
    record = find_run(arguments.run, arguments.root)
    record.checkpoint(values["checkpoint"])
    folder = typed_path(values["out"] or f"export-{record.path.resolve().name}")
    if HF in values["format"] and len(values["format"]) > 1:
        raise ConfigError("format=hf makes a folder of its own\n  name the others in another call")
    # What can be refused without torch has been: that takes seconds to import.
    from trainwright.inference.export.folder import export
    from trainwright.inference.export.formats import FILES, check_installed

    for form in values["format"]:
        check_installed(form)
    trained = open_run(record, values)
    if HF in values["format"]:
        from trainwright.inference.export.pretrained import export_pretrained

        worst = export_pretrained(trained, folder)
        print(f"{folder}: transformers says the same of every token, within {worst:.1g} in fp32")
        return 0
    differences = export(trained, record.path.resolve().name, values["format"], folder)
    for form, worst in differences.items():
        told = "the weights, bit for bit"
        if form != "safetensors":
            told = f"within {worst:.1g} of the run's own outputs in fp32, batches of 1, 2 and 5"
        print(f"{folder / FILES[form]}: {told}")
    if trained.placement.precision != "fp32":
        here = f"`runs predict` in {trained.placement.precision}, but with precision=fp32"
        print(f"the files compute in fp32, and {here}")
    print(f"{folder / 'model.json'}: what goes in and comes out")
    print(f"{folder / 'example.py'}: 20 lines that use {FILES[values['format'][0]]}")
    return 0

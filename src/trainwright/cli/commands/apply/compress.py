"""`runs compress`: a run's network in 8 or 16 bits, or with fewer channels, and what that costs."""

import argparse
import contextlib
import io
import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trainwright.cli.commands.apply.evaluate import OWN_DATA, parted
from trainwright.cli.opening import CHECKPOINT, TRUST, add_run, add_settings, open_run
from trainwright.cli.terminal.keys import Key, OneOf, number, text, whole
from trainwright.cli.terminal.table import text_table
from trainwright.errors import ConfigError, require_extra
from trainwright.files import typed_path
from trainwright.runs.find import find_run
from trainwright.runs.record import Record
from trainwright.wording import format_bytes, format_number, printable

if TYPE_CHECKING:
    from trainwright.inference.compress.measure import Row
    from trainwright.inference.trained import Trained

LEAST_PRUNED, MOST_PRUNED = 0.01, 0.99

KEYS = (
    Key(
        "to",
        OneOf("int8", "bf16", "fp32"),
        "int8",
        "int8 (default), bf16 weights, or fp32 as it is",
    ),
    Key(
        "prune", number(LEAST_PRUNED, MOST_PRUNED), None, "share of each layer's channels that goes"
    ),
    Key("epochs", whole(1, 10_000), 1, "of training after prune=... (1)"),
    Key(
        "max_drop", number(0, 1), None, "refuse what loses more of the metric: max_drop=0.005 (any)"
    ),
    Key(
        "calibration",
        whole(1, 100_000),
        512,
        "training examples that int8 sees to set its scales (512)",
    ),
    Key("out", text, None, "the folder to make (compressed-<run>)"),
    CHECKPOINT,
    TRUST,
)
EXAMPLES = """\
  runs compress cnn-mnist
  runs compress cnn-mnist to=bf16
  runs compress cnn-mnist prune=0.5 epochs=2 to=fp32
  runs compress cnn-mnist max_drop=0.005 out=small && python small/example.py seven.png

The folder is like one of `runs export format=onnx`: onnxruntime alone uses it. The table says what
each form costs: its size; milliseconds an example on one thread, of the processor's time, in
batches of 1 and 64; the metric on the test split with its 95 % interval; how often it says the
same. What max_drop refuses leaves nothing behind; of a metric where less is better it is a share.
prune=... is for cnn, cnn1d and mlp: a smaller network with the strongest channels is trained as
`runs fork` does, and that run lies in the folder too. data.key=... changes where the run's data are
read. Needs trainwright[export]."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The run, keys, the form of the output."""
    add_run(parser)
    add_settings(parser, "see below; and data.key=...")
    parser.add_argument("--json", action="store_true", help="the table, as one object")


def execute(arguments: argparse.Namespace) -> int:
    """Make the folder, and print what it costs."""
    values, overrides = parted(arguments.settings, KEYS, OWN_DATA)
    _refuse_idle(values)
    record = find_run(arguments.run, arguments.root)
    name = record.path.resolve().name
    folder = typed_path(values["out"] or f"compressed-{name}")
    require_extra("runs compress", "onnx", "onnxruntime", "onnxscript", extra="export")
    trained = open_run(record, {**values, "precision": "fp32"})
    from trainwright.inference.compress.compress import check_compressible, compress, plain
    from trainwright.inference.export.folder import new_folder
    from trainwright.inference.other_data import load_data

    dataset = load_data(trained, overrides)
    check_compressible(trained, dataset)
    with new_folder(folder) as made:
        small = trained
        if values["prune"] is not None:
            small = _pruned(trained, values, overrides, arguments, made)
        how = {key: values[key] for key in ("to", "calibration", "max_drop")}
        rows = compress(trained, small, dataset, made, name=name, **how)
    if arguments.json:
        print(json.dumps({"folder": str(folder), "forms": [plain(row) for row in rows]}, indent=2))
    else:
        print("\n".join(_lines(rows, trained.task.objective.metric, folder, small is not trained)))
    return 0


def _refuse_idle(values: Mapping[str, Any]) -> None:
    if values["to"] == "fp32" and values["prune"] is None:
        raise ConfigError(
            "to=fp32 makes nothing smaller by itself\n  add prune=0.5; or: runs export"
        )
    if values["prune"] is None and values["epochs"] != 1:
        raise ConfigError(f"epochs={values['epochs']} has no effect without prune=...")
    if values["to"] != "int8" and values["calibration"] != 512:
        raise ConfigError(
            f"calibration={values['calibration']} has no effect with to={values['to']}"
        )


def _pruned(
    trained: "Trained",
    values: Mapping[str, Any],
    overrides: list[str],
    arguments: argparse.Namespace,
    made: Path,
) -> "Trained":
    """A smaller network, trained by a fork of the run that lies in the folder."""
    from trainwright.cli.commands.manage.fork import fork_overrides
    from trainwright.cli.train import train
    from trainwright.command_line import listing, override
    from trainwright.config.forked import NAME
    from trainwright.config.trust import targets_of
    from trainwright.inference.compress.prune import write_pruned
    from trainwright.inference.trained import load_trained
    from trainwright.targets import TRUSTED_TARGETS

    write_pruned(trained, values["prune"], made / "pruned")
    own = sorted(targets_of(trained.plan.kept) - TRUSTED_TARGETS)
    words = [
        *overrides,
        f"trainer.epochs={values['epochs']}",
        "trainer.plots=false",
        "logger=none",
        override("run.dir", made.resolve() / "run"),
        *([listing("trust", own)] if own else []),
    ]
    typed = fork_overrides(Record(made / "pruned"), words, arguments.root)
    with contextlib.redirect_stdout(io.StringIO()):
        code = train(typed, debug=arguments.debug, config_name=NAME)
    if code:
        raise SystemExit(code)  # `train` has said why
    shutil.rmtree(made / "pruned")
    best = made / "run" / "checkpoints" / "best.safetensors"
    return load_trained(best, trust=own, device="cpu", precision="fp32")


def _lines(rows: list["Row"], metric: str, folder: Path, is_pruned: bool) -> list[str]:
    table = [
        [
            row.form,
            format_bytes(row.num_bytes),
            f"{row.num_bytes / rows[0].num_bytes:.2f}",
            *(f"{ms:.3f}" for ms in row.ms.values()),
            f"{rows[0].ms[64] / row.ms[64]:.1f}",
            format_number(row.metric.value),
            " to ".join(map(format_number, row.metric.interval or ())),
            f"{row.agreement:.2%}",
        ]
        for row in rows
    ]
    header = [
        *("FORM", "SIZE", "SHARE", "MS, BATCH 1", "MS, BATCH 64", "TIMES AS FAST"),
        *(metric.upper(), "95 % INTERVAL", "AGREES"),
    ]
    right = [name for name in header if name not in ("FORM", "95 % INTERVAL")]
    more = [f"{folder / 'run'}: the run that trained the pruned network"] if is_pruned else []
    return [
        *text_table(header, table, right=right),
        "",
        f"{folder / 'model.onnx'}: {printable(rows[-1].form)}; example.py beside it uses it",
        *more,
    ]

"""`runs explain`: why a run says what it says, of an image, a text, a row; and of a whole table."""

import argparse
import contextlib
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trainwright.cli.commands.apply.evaluate import OWN_DATA, parted
from trainwright.cli.commands.apply.predict import files_and_settings, files_of, label_of
from trainwright.cli.opening import CHECKPOINT, DEVICE, TRUST, add_run, open_run
from trainwright.cli.terminal.explained import (
    part_lines,
    picture_lines,
    sanity_lines,
    table_lines,
)
from trainwright.cli.terminal.keys import Key, OneOf, SeveralOf, text, whole
from trainwright.errors import ConfigError, DataError, DiskError
from trainwright.files import typed_path
from trainwright.runs.find import find_run
from trainwright.runs.folder import RunFolder

if TYPE_CHECKING:
    from torch import Tensor

    from trainwright.data.dataset import Dataset
    from trainwright.data.examples import Batch
    from trainwright.inference.explain.asked import Asked
    from trainwright.inference.explain.explain import Explained
    from trainwright.inference.trained import Trained

NUM_EXAMPLES, NUM_ROWS = 8, 10_000
# Keys that have an effect on one kind of what is explained alone.
CAPTUMS = ("deep_lift", "gradient_shap", "guided_backprop")
_ONLY_FOR = {
    "out": ("images",),
    "base": ("images",),
    "captum": ("images",),
    "top": ("texts", "rows", "tables"),
    "samples": ("rows",),
    "repeats": ("tables",),
    "resamples": ("tables",),
}

KEYS = (
    Key("output", text, None, "which class or value, by name or number (the likeliest class)"),
    Key(
        "n", whole(1), None, "without INPUT: so many test examples (8), or rows of a table (10000)"
    ),
    Key("out", text, None, "the folder for pictures of images (explain-<run>)"),
    Key("base", OneOf("mean", "black", "white"), "mean", "of images: the colour of what is gone"),
    Key("captum", SeveralOf(*CAPTUMS), (), f"of images, also by: {', '.join(CAPTUMS)} (none)"),
    Key("top", whole(1, 1000), 10, "how many features or tokens are named (10)"),
    Key(
        "samples", whole(2, 10**6), 512, "orders of a row's features, where there are over 8 (512)"
    ),
    Key("repeats", whole(1, 1000), 10, "how often each feature of a table is shuffled (10)"),
    Key("resamples", whole(0, 100_000), 200, "bootstrap resamples of a table's rows (200)"),
    Key("seed", whole(0), 0, "another seed, other shuffles (0)"),
    CHECKPOINT,
    DEVICE,
    TRUST,
)
EXAMPLES = """\
  runs explain cnn-mnist seven.png
  runs explain cnn-mnist seven.png output=1
  runs explain last n=16 out=why
  runs explain last captum=deep_lift,gradient_shap
  runs explain mlp-breast_cancer
  runs explain mlp-breast_cancer patients.csv --json
  runs explain last --keep                       for runs report

Images: integrated gradients, occlusion and, where there are convolutions, Grad-CAM, each drawn over
the image. Texts: what each token adds. Rows of a table: the Shapley value of each feature. Files
are read as by `runs predict`. Without any, examples of the test split are explained; of a table,
how much each feature counts (permutation importance) and what follows from its values (partial
dependence). What is explained of a class is its log-odds. Every method is checked: against the same
network with shuffled weights, and by deletion.
data.key=... changes where the run's own data are read."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The run, files, keys, the form of the output."""
    add_run(parser)
    parser.add_argument("files", nargs="*", metavar="INPUT", help="files and folders; key=value")
    parser.add_argument("--json", action="store_true", help="everything, as one object")
    keep = "without INPUT: keep it as a picture in the run's folder, which `runs report` shows"
    parser.add_argument("--keep", action="store_true", help=keep)


def execute(arguments: argparse.Namespace) -> int:
    """Explain, write the pictures, and print what was found."""
    files, typed = files_and_settings(arguments.files)
    values, overrides = parted(typed, KEYS, OWN_DATA)
    record = find_run(arguments.run, arguments.root)
    trained = open_run(record, {**values, "precision": "fp32"})
    from trainwright.inference.explain.asked import asked_of
    from trainwright.inference.explain.explain import is_table
    from trainwright.inference.other_data import load_data

    asked = asked_of(trained)
    kind = "images" if trained.info.is_image else "texts"
    if is_table(trained):
        kind = "rows" if files else "tables"
    _refuse_idle(values, kind, has_files=bool(files))
    if arguments.keep and (files or kind == "texts" or values["output"] is not None):
        raise ConfigError("--keep is for images of the test split and for tables, without output=")
    picture = RunFolder(record.path).plots / f"explained-{trained.step}.png"
    kept = picture if arguments.keep else None
    dataset = load_data(trained, overrides) if is_table(trained) or not files else None
    if dataset is not None and not len(dataset.test) and not files:
        raise DataError(f"the test split of {dataset.info.name} is empty: name files")
    about = {"run": str(record.path), "checkpoint": str(trained.path), "step": trained.step}
    if dataset is not None and kind == "tables":
        plain, lines = _of_table(trained, asked, dataset, values, kept)
    else:
        folder = typed_path(values["out"] or f"explain-{record.path.resolve().name}")
        examples = _examples(trained, dataset, files, values["n"] or NUM_EXAMPLES)
        others = dataset if kind == "rows" else None
        plain, lines = _of_examples(trained, others, examples, values, folder, kept)
    if kept is not None:
        plain, lines = {**plain, "kept": str(kept)}, [*lines, f"kept for runs report: {kept}"]
    print(json.dumps({**about, **plain}, indent=2) if arguments.json else "\n".join(lines))
    return 0


def _refuse_idle(values: Mapping[str, Any], kind: str, *, has_files: bool) -> None:
    """Raise ConfigError for a key that has no effect on what is explained."""
    defaults = {key.name: key.default for key in KEYS}
    for name, kinds in _ONLY_FOR.items():
        if kind not in kinds and values[name] != defaults[name]:
            raise ConfigError(f"{name}=... is for {', '.join(kinds)}, and has no effect on {kind}")
    if has_files and values["n"] is not None:
        raise ConfigError("n=... is for examples of the test split: leave it out, or the files")


Told = tuple[dict[str, Any], list[str]]  # as JSON has it, and for a person


def _of_table(
    trained: "Trained",
    asked: "Asked",
    dataset: "Dataset",
    values: Mapping[str, Any],
    kept: Path | None,
) -> Told:
    from trainwright.inference.explain.importance import explain_table

    how = {name: values[name] for name in ("output", "repeats", "resamples", "seed")}
    table = explain_table(trained, asked, dataset, most=values["n"] or NUM_ROWS, **how)
    if kept is not None:
        from trainwright.report.explanation import draw_importance

        columns = zip(*((f.feature, f.importance, f.interval) for f in table.features), strict=True)
        with _writing(kept):
            draw_importance(*columns, title=table_lines(table, 0)[0].rstrip(":"), path=kept)
    plain = {**vars(table), "features": [vars(feature) for feature in table.features]}
    return {**plain, "sane": table.sane.plain()}, table_lines(table, values["top"])


def _of_examples(
    trained: "Trained",
    others: "Dataset | None",
    examples: Iterator[tuple[str, "Batch"]],
    values: Mapping[str, Any],
    folder: Path,
    kept: Path | None,
) -> Told:
    from trainwright.inference.explain.explain import Explainer, others_of, sanity
    from trainwright.inference.explain.subjects import Picture

    how = {name: values[name] for name in ("base", "samples", "seed", "captum")}
    explainer = Explainer(trained, None if others is None else others_of(others), **how)
    given = dict(examples)
    explained = {label: explainer.explain(one, values["output"]) for label, one in given.items()}
    checked = sanity(list(explained.values()))
    plain: dict[str, Any] = {
        "examples": [{"input": label, **one.plain()} for label, one in explained.items()],
        "methods": {name: sane.plain() for name, sane in checked.items()},
    }
    if isinstance(next(iter(explained.values())).subject, Picture):
        files = {
            label: _drawn(label, one, folder, i)
            for i, (label, one) in enumerate(explained.items(), 1)
        }
        plain["pictures"] = files
        if kept is not None:
            truths = [one[trained.info.targets[0]] for one in given.values()]
            _keep(list(explained.values()), truths, kept)
        lines = [*picture_lines(explained, files), ""]
    else:
        lines = [line for one in explained.items() for line in part_lines(*one, values["top"])]
    return plain, [*lines, *sanity_lines(checked, is_probable=explainer.asked.is_probable)]


def _examples(
    trained: "Trained", dataset: "Dataset | None", files: Sequence[Path], num: int
) -> Iterator[tuple[str, "Batch"]]:
    """Those of the files, or of the test split, each with its name. Raises DataError."""
    import torch

    from trainwright.inference.explain.explain import spread
    from trainwright.inference.given import raise_unusable
    from trainwright.inference.predict import read, reads_files

    if files:
        found = list(read(trained.info, list(files_of(files, reads_files(trained.info)))))
        raise_unusable(found)
        for one in found:
            yield label_of(one), {n: torch.from_numpy(c) for n, c in one.columns.items()}
        return
    assert dataset is not None
    num = min(num, len(dataset.test))
    some = spread(dataset.test, num)
    for i in range(num):
        yield f"test {i * len(dataset.test) // num}", {name: c[i] for name, c in some.items()}


def _drawn(label: str, one: "Explained", folder: Path, number: int) -> str:
    """The picture of an image that was explained, drawn into the folder. Raises DiskError."""
    from trainwright.inference.explain.subjects import Picture
    from trainwright.report.explanation import draw_maps

    subject = one.subject
    assert isinstance(subject, Picture)
    stem = "".join(c if c.isalnum() or c in "-_" else "-" for c in Path(label).stem)
    path = folder / f"{number:03d}-{stem[:60]}.png"
    maps = {name: f.values.view(subject.shape).numpy() for name, f in one.found.items()}
    curves = {name: f.curve.numpy() for name, f in one.found.items()}
    curves["at random"] = next(iter(one.found.values())).at_random.numpy()
    asked = one.asked
    title = f"{asked.name}, {asked.unit} {asked.text(one.score)}"
    with _writing(path):
        draw_maps(subject.seen(), maps, curves, title=title, told=asked.unit, path=path)
    return str(path)


def _keep(explained: Sequence["Explained"], truths: Sequence["Tensor"], path: Path) -> None:
    """Images with the first method over them as one picture, errors framed. Raises DiskError."""
    import torch

    from trainwright.data.columns import Classes
    from trainwright.report.plots.grid import save_image
    from trainwright.report.plots.predictions import prediction_grid

    target, pictures = explained[0].asked.target, [one.over() for one in explained]
    true = [target.text(truth) for truth in truths]
    said = [f"{one.asked.name} {one.asked.text(one.score)}" for one in explained]
    right = [True] * len(said)
    if isinstance(target, Classes):
        said = [target.names[int(one.answer.argmax())] for one in explained]
        right = [one == other for one, other in zip(said, true, strict=True)]
    images = torch.stack([torch.from_numpy(p).permute(2, 0, 1) for p in pictures])
    with _writing(path):
        save_image(prediction_grid(images, said, true, right), path)


@contextlib.contextmanager
def _writing(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise DiskError(f"could not write to {path.parent}\n  {error.strerror or error}") from error

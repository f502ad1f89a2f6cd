"""`runs predict`: classes and probabilities of image files, as a table, CSV or JSON lines."""

import argparse
import csv
import json
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trainwright.catalogue.find import find_run
from trainwright.cli.keys import (
    Key,
    one_of,
    parse_keys,
    whole,
)
from trainwright.cli.opening import CHECKPOINT, DEVICE, TRUST, add_run, open_run
from trainwright.cli.table import shown, text_table
from trainwright.errors import ConfigError, DataError
from trainwright.report.text import format_number
from trainwright.wording import printable

if TYPE_CHECKING:
    from trainwright.inference.prediction import Prediction

SUFFIXES = (".png", ".jpg", ".jpeg", ".webp")
MOST_NAMED = 3

KEYS = (
    Key("top", whole(1, 1000), 3, "how many of the likeliest classes a line names (3)"),
    Key(
        "on_bad",
        one_of("error", "skip"),
        "error",
        "files that are no images: error (code 3), or skip",
        options=("error", "skip"),
    ),
    CHECKPOINT,
    DEVICE,
    TRUST,
)
EXAMPLES = """\
  runs predict last photo.png
  runs predict best:accuracy photos/ --csv > predictions.csv
  runs predict cnn-mnist a.png b.png top=1 --jsonl

Of a folder all PNG, JPEG and WebP files are taken, those of folders in it too. Images are brought
to the size, channels and normalisation of the training data. What can be predicted is, and then
bad files are named on standard error; with on_bad=skip they are counted and the exit code is 0."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The run, files and folders, keys, and the form of the output."""
    add_run(parser)
    parser.add_argument("images", nargs="+", metavar="IMAGE", help="files and folders; key=value")
    form = parser.add_mutually_exclusive_group()
    form.add_argument("--csv", action="store_true", help="comma-separated, a column a class")
    form.add_argument("--jsonl", action="store_true", help="an object a line")


def execute(arguments: argparse.Namespace) -> int:
    """Print what is predicted. Raises DataError that names bad files, once all others are done."""
    names = {key.name for key in KEYS}
    is_key = [
        "=" in word and not Path(word).exists() and word.split("=")[0] in names
        for word in arguments.images
    ]
    words = list(zip(arguments.images, is_key, strict=True))
    values = parse_keys([word for word, of_key in words if of_key], KEYS)
    files = list(_files([word for word, of_key in words if not of_key]))
    trained = open_run(find_run(arguments.run, arguments.root), values)
    from trainwright.inference.prediction import predict, require_images

    require_images(trained)
    bad: list[Prediction] = []
    good = _good(predict(trained, files), bad)
    show = _print_csv if arguments.csv else _print_lines if arguments.jsonl else _print_table
    show(good, trained.info.class_names, values["top"])
    sys.stdout.flush()
    if bad and values["on_bad"] == "error":
        raise _bad_files(bad, len(files))
    if bad:
        print(f"skipped {len(bad):,} of {len(files):,} files, which are no images", file=sys.stderr)
    return 0


def _files(words: list[str]) -> Iterator[Path]:
    """The files that are named, and the images in folders that are. Raises DataError."""
    if not words:
        raise ConfigError("predict what? name image files, or folders of them")
    for word in words:
        path = Path(word).expanduser()
        if path.is_dir():
            found = [p for p in sorted(path.rglob("*")) if p.suffix.lower() in SUFFIXES]
            visible = [p for p in found if p.is_file() and not _is_hidden(p, path)]
            if not visible:
                raise DataError(f"{path} holds no PNG, JPEG or WebP images")
            yield from visible
        elif path.is_file():
            yield path
        else:
            raise DataError(f"{word}: there is no such image file or folder")


def _is_hidden(path: Path, folder: Path) -> bool:
    return any(part.startswith(".") for part in path.relative_to(folder).parts)


def _good(found: Iterable["Prediction"], bad: list["Prediction"]) -> Iterator["Prediction"]:
    for prediction in found:
        if prediction.problem is None:
            yield prediction
        else:
            bad.append(prediction)


def _bad_files(bad: list["Prediction"], num_files: int) -> DataError:
    first = f"{len(bad):,} of {num_files:,} files could not be read (on_bad=skip goes without)"
    named = [f"  {printable(str(b.path))}: {b.problem}" for b in bad[:MOST_NAMED]]
    more = [f"  and {len(bad) - MOST_NAMED:,} more"] if len(bad) > MOST_NAMED else []
    return DataError("\n".join([first, *named, *more]))


def _likeliest(
    prediction: "Prediction", names: tuple[str, ...], top: int
) -> list[tuple[str, float]]:
    assert prediction.probabilities is not None
    shares, indices = prediction.probabilities.topk(min(top, len(names)))
    pairs = zip(shares.tolist(), indices.tolist(), strict=True)
    return [(names[index], share) for share, index in pairs]


def _print_table(found: Iterable["Prediction"], names: tuple[str, ...], top: int) -> None:
    rows = []
    for prediction in found:
        if prediction.value is not None:
            rows.append([str(prediction.path), format_number(prediction.value)])
            continue
        (best, share), *others = _likeliest(prediction, names, top)
        rest = "  ".join(f"{name} {other:.3f}" for name, other in others)
        rows.append([str(prediction.path), best, f"{share:.3f}", rest])
    if rows and len(rows[0]) == 2:
        print("\n".join(text_table(["FILE", "VALUE"], rows, right=["VALUE"])))
    elif rows:
        print("\n".join(text_table(["FILE", "CLASS", "PROBABILITY", "NEXT"], rows)))


def _print_csv(found: Iterable["Prediction"], names: tuple[str, ...], top: int) -> None:
    """All probabilities, whatever `top` is: columns must not depend on the row."""
    writer = csv.writer(sys.stdout, lineterminator="\n")
    writer.writerow(["file", "class", "probability", *names] if names else ["file", "value"])
    for prediction in found:
        if prediction.probabilities is None:
            writer.writerow([shown(str(prediction.path)), prediction.value])
        else:
            [(best, share)] = _likeliest(prediction, names, 1)
            shares = (f"{p:.6g}" for p in prediction.probabilities.tolist())
            writer.writerow([shown(str(prediction.path)), best, f"{share:.6g}", *shares])


def _print_lines(found: Iterable["Prediction"], names: tuple[str, ...], top: int) -> None:
    for prediction in found:
        row: dict[str, Any] = {"file": str(prediction.path)}
        if prediction.value is not None:
            row["value"] = prediction.value
        else:
            likeliest = _likeliest(prediction, names, top)
            row |= {"class": likeliest[0][0], "probability": round(likeliest[0][1], 6)}
            row["top"] = {name: round(share, 6) for name, share in likeliest}
        print(json.dumps(row))

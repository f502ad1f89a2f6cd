"""`runs sample`: images, a text or a table that a run makes up, from the checkpoint alone."""

import argparse
import dataclasses
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trainwright.cli.opening import (
    CHECKPOINT,
    DEVICE,
    PRECISION,
    TRUST,
    add_run,
    add_settings,
    open_run,
)
from trainwright.cli.terminal.keys import Key, OneOf, SeveralOf, listed, parse_keys, text, whole
from trainwright.cli.terminal.method_keys import method_keys, shipped_keys
from trainwright.cli.terminal.writing import whole_text, write_down
from trainwright.errors import ConfigError, DiskError
from trainwright.files import replacing, typed_path, write_text
from trainwright.runs.find import find_run
from trainwright.runs.record import Record

if TYPE_CHECKING:
    from trainwright.inference.trained import Trained
    from trainwright.tasks.show import MadeUp, Table, Text

MOST_IN_A_GRID = 10_000
ONE_FILE = {".png", ".npy", ".gif", ".webp", ".txt", ".csv"}
OTHER_PICTURES = {".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".svg", ".pdf", ".mp4"}

_KEYS = (
    Key("n", whole(1, 1_000_000), None, "how many images (64), strips (8) or texts (1 a prompt)"),
    Key("class", listed, (), "of which classes, by name or number: class=3, class=cat,dog (all)"),
    Key("seed", whole(0), 0, "another seed, other samples (0)"),
    Key("interpolate", whole(2, 1000), None, "strips of so many images from one noise to another"),
    Key(
        "format",
        SeveralOf("png", "images", "npy"),
        (),
        "of images one or more of: png, a grid (default); images, a PNG each; npy, the numbers",
    ),
    Key(
        "progress",
        OneOf("gif", "webp"),
        None,
        "instead: the grids drawn while training, moving",
    ),
    Key("out", text, None, "the folder to write to (samples-<run>), or the one file"),
    CHECKPOINT,
    DEVICE,
    PRECISION,
    TRUST,
)
_KNOWN = frozenset({"seed", "classes", *(key.name for key in _KEYS)})
_SHIPPED = shipped_keys("generate", besides=_KNOWN)
KEYS = (*_KEYS, *_SHIPPED)
EXAMPLES = """\
  runs sample last
  runs sample gan-mnist n=100 class=3 seed=1
  runs sample best:frechet interpolate=8 out=strips.png
  runs sample last n=5000 format=npy,images
  runs sample last steps=5 guidance=1.5 sampler=midpoint class=3
  runs sample last edit=photo.png strength=0.4 n=9
  runs sample last edit=photo.png mask=hole.png n=9
  runs sample last progress=gif
  runs sample last prompt="ROMEO:" n=5 temperature=0.8 top_p=0.95 max_tokens=300
  runs sample last prompts=questions.txt stop='["\\n\\n"]' --jsonl > answers.jsonl

A text appears as it is written; with out= it goes to a file.
Needs no dataset. The weights are the averaged ones if the run has them. Files of the same name hold
the same images: the name says step, count, seed, class and what else was asked."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The run, and keys."""
    add_run(parser)
    add_settings(parser)
    parser.add_argument("--jsonl", action="store_true", help="of texts: one object a line")


def execute(arguments: argparse.Namespace) -> int:
    """Write the pictures and say where they are, or print the text."""
    record = find_run(arguments.run, arguments.root)
    target = record.setting("task._target_")
    own = _SHIPPED if target is None else method_keys(target, "generate", besides=_KNOWN)
    values = parse_keys(arguments.settings, (*_KEYS, *own))
    options = {key.name: values[key.name] for key in own if values[key.name] is not None}
    if values["progress"]:
        paths = _progress(record, values)
    else:
        paths = _sample(record, values, options, as_lines=arguments.jsonl)
    for path in paths:
        print(path)
    return 0


def _progress(record: Record, values: dict[str, Any]) -> list[Path]:
    from trainwright.report.plots.animation import animate

    defaults = {key.name: key.default for key in KEYS if key.name not in ("progress", "out")}
    for name in sorted(defaults):
        if values.get(name, defaults[name]) != defaults[name]:
            raise ConfigError(
                f"{name}=... has no effect with progress={values['progress']}, which shows the\n"
                "  grids that were drawn while training; leave one of them out"
            )
    path = _Place(record, values["out"]).file(f"progress.{values['progress']}")
    try:
        animate(record.path / "samples", path)
    except OSError as error:
        raise DiskError(f"could not write {path}\n  {error.strerror or error}") from error
    return [path]


def _sample(
    record: Record, values: dict[str, Any], options: dict[str, Any], *, as_lines: bool
) -> list[Path]:
    place = _Place(record, values["out"])
    if place.is_file and values["format"] not in ((), ("png",), ("npy",)):
        raise ConfigError(
            f"out={values['out']} is one file, and format={','.join(values['format'])} makes "
            "several\n  name a folder"
        )
    strips = values["interpolate"] is not None
    num = values["n"] or (8 if strips else 64)
    in_a_grid = not values["format"] or "png" in values["format"]
    if in_a_grid and num * (values["interpolate"] or 1) > MOST_IN_A_GRID:
        raise ConfigError(
            f"n={num}: a grid holds at most {MOST_IN_A_GRID:,} images\n"
            "  for more, take format=images or format=npy"
        )
    trained = open_run(record, values)
    from trainwright.inference.generate import class_indices, make_up, require_generator
    from trainwright.tasks.show import Samples, Writing

    require_generator(trained)
    classes = class_indices(values["class"], trained) if values["class"] else []
    frames, seed = values["interpolate"], values["seed"]
    how_many = num if strips else values["n"]
    samples = make_up(trained, how_many, frames=frames, seed=seed, classes=classes, options=options)
    if isinstance(samples, Writing) and values["out"] is None:
        if values["format"]:
            raise _is_for_images(values["format"], "a text")
        write_down(samples, as_lines=as_lines)
        return []
    if as_lines:
        raise ConfigError("--jsonl is for texts that are printed: leave it out, or out=...")
    if isinstance(samples, Samples) and samples.note:
        print(samples.note, file=sys.stderr)
    stem = _stem(trained, num, values, options if isinstance(samples, Samples) else {})
    try:
        return _write(samples, place, stem, values["format"])
    except OSError as error:
        raise DiskError(f"could not write to {place.path}\n  {error.strerror or error}") from error


def _stem(trained: "Trained", num: int, values: dict[str, Any], options: dict[str, Any]) -> str:
    """What makes these images these, as a file name."""
    parts = [f"step{trained.step}", f"n{num}", f"seed{values['seed']}"]
    if values["interpolate"]:
        parts.insert(1, f"interpolate{values['interpolate']}")
    if values["class"]:
        parts.append(f"class{'-'.join(map(_letters, values['class']))}"[:60])
    for name, value in options.items():
        files = [Path(part) for part in str(value).split(",")]
        if all(file.suffix in {".png", *OTHER_PICTURES} for file in files):
            parts.append(f"{name}-{'-'.join(_letters(str(f.with_suffix(''))) for f in files)}"[:80])
        else:
            parts.append(f"{name}{_letters(str(value))[-60:]}")
    return "-".join(parts)


def _letters(text: str) -> str:
    return "".join(c if c.isalnum() or c == "." else "_" for c in text)


def _write(samples: "MadeUp", place: "_Place", stem: str, formats: tuple[str, ...]) -> list[Path]:
    from trainwright.report.plots.grid import image_grid, save_image, tiles
    from trainwright.tasks.show import Samples, Text, Writing

    if isinstance(samples, Writing):
        samples = Text(whole_text(samples))
    if not isinstance(samples, Samples):
        return [_write_text(samples, place, stem, formats)]
    written = []
    if not formats or "png" in formats:
        written.append(place.file(f"{stem}.png"))
        save_image(image_grid(samples.images, columns=samples.columns), written[-1])
    if "npy" in formats:
        written.append(place.file(f"{stem}.npy"))
        _save_array(written[-1], samples.images.numpy())
        if samples.classes is not None and not place.is_file:
            written.append(place.file(f"{stem}-classes.npy"))
            _save_array(written[-1], samples.classes.numpy())
    if "images" in formats:
        folder = place.file(stem)
        width = len(str(len(samples.images) - 1))
        for number, picture in enumerate(tiles(samples.images, scale=1)):
            kind = "" if samples.classes is None else f"-class{int(samples.classes[number])}"
            save_image(picture, folder / f"{number:0{width}d}{kind}.png")
        written.append(folder)
    return written


def _write_text(made: "Text | Table", place: "_Place", stem: str, formats: tuple[str, ...]) -> Path:
    if formats:
        raise _is_for_images(formats, f"a {type(made).__name__.lower()}")
    path = place.file(f"{stem}.{made.suffix}")
    path.parent.mkdir(parents=True, exist_ok=True)
    write_text(path, made.written)
    return path


def _is_for_images(formats: tuple[str, ...], made: str) -> ConfigError:
    return ConfigError(
        f"format={','.join(formats)} is for images, and this run makes up {made}\n  leave it out"
    )


def _save_array(path: Path, array: Any) -> None:
    import numpy as np

    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as temporary, temporary.open("wb") as file:
        np.save(file, array, allow_pickle=False)


@dataclasses.dataclass(frozen=True)
class _Place:
    """Where the files go: a folder, or the one file that was named."""

    record: Record
    out: str | None

    def __post_init__(self) -> None:
        if self.path.suffix in OTHER_PICTURES and not self.path.is_dir():
            raise ConfigError(
                f"out={self.out}: pictures are written as .png, .gif or .webp\n"
                "  name it so, or name a folder"
            )

    @property
    def path(self) -> Path:
        default = f"samples-{self.record.path.resolve().name}"
        return typed_path(self.out or default)

    @property
    def is_file(self) -> bool:
        return self.path.suffix in ONE_FILE and not self.path.is_dir()

    def file(self, name: str) -> Path:
        """A file of that name in the folder, or the one that was named, of the same format."""
        if not self.is_file:
            return self.path / name
        if self.path.suffix != Path(name).suffix:
            raise ConfigError(
                f"out={self.out}: the output is a {Path(name).suffix} file\n"
                f"  name it so, or name a folder"
            )
        return self.path

"""A table of your own: CSV, TSV, either compressed, or Parquet."""

import hashlib
import json
import mmap
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from trainwright.data.cache import damaged, mapped, new_cache, read_index, sign
from trainwright.data.dataset import DataInfo, Dataset
from trainwright.data.examples import Arrays
from trainwright.data.origins import TableRows
from trainwright.data.sources.fetch import data_root
from trainwright.data.splits import require_examples, split_sizes, test_or_fold
from trainwright.data.tables.build import PLACES, Built, Store, Wanted, build
from trainwright.data.tables.cells import MISSING
from trainwright.data.tables.kinds import Reading
from trainwright.data.tables.learn import TargetScale
from trainwright.data.tables.notes import SPLITS
from trainwright.data.tables.reader import BadTableError, Table
from trainwright.data.tables.rows import SMALL, Roles, Rows
from trainwright.data.tables.target import TargetKind
from trainwright.data.tables.texts import Texts
from trainwright.errors import ConfigError, DataError
from trainwright.files import typed_path
from trainwright.wording import printable

CACHE_VERSION = 2  # raise when the same file would become other numbers
WHAT = "a table"


def load_table(
    *,
    path: str,
    target: str | list[str],
    target_kind: TargetKind | None = None,
    target_scale: TargetScale = "auto",
    columns: str | list[str] | None = None,
    ignore: str | list[str] | None = None,
    categories: str | list[str] | None = None,
    text: str | list[str] | None = None,
    null: str | list[str] | None = None,
    separator: str | None = None,
    decimal: Literal["point", "comma"] | None = None,
    encoding: str = "utf-8",
    group: str | None = None,
    time: str | None = None,
    split: Literal["random", "hash"] = "random",
    validation: int | float = 0.1,
    test: int | float = 0.1,
    split_seed: int = 0,
    tokenizer: str = "bytes",
    vocab_size: int = 4096,
    context: int = 256,
    folds: int | None = None,
    fold: int = 0,
    limit: int | None = None,
    baselines: bool = True,
    root: str | None = None,
    learned: DataInfo | None = None,
    whole: bool = False,
    known: DataInfo | None = None,
    reads_tokens: bool = False,
) -> Dataset:
    """The rows of a table as `numbers` (N, F) float32 and `categories` (N, G) int64.

    What its columns are is found from training rows, and so is all that is learned of them. A large
    table is read once, into `<root>/table-cache`, and mapped from there, and again when the file or
    a setting changes. `baselines`: measure beside the network what scikit-learn reaches. `learned`:
    the facts of a run; then its columns are read as it has learned them. `whole`: all rows are the
    test. `reads_tokens`: whether the network is given a text as tokens (N, T), which are the only
    input then; `known`: the facts of a run whose tokens these are to be.

    Raises ConfigError for wrong settings, DataError for what is no table, or none to learn from.
    """
    if whole and learned is None:
        raise ConfigError("data.whole: it is not for training; leave it out")
    held_out = test_or_fold(test, folds, fold)
    split_sizes(2**62, validation=validation, test=held_out, limit=limit)
    targets = _listed(target)
    if not targets or len(set(targets)) < len(targets):
        raise ConfigError(f"data.target={list(targets)}: name one column, or several, each once")
    if separator is not None and len(separator) != 1:
        raise ConfigError(f"data.separator={separator!r}: it must be one letter, such as ';'")
    if group is not None and time is not None:
        raise ConfigError("data.group and data.time: rows are split by one of them")
    file = typed_path(path).absolute()
    if not file.is_file():
        state = "is no file" if file.exists() else "does not exist"
        raise DataError(f"the table {printable(str(file))} {state}")
    words = tuple(
        dict.fromkeys(w.strip().lower() for w in (MISSING if null is None else _listed(null)))
    )
    roles = Roles(
        targets, _listed(columns), _listed(ignore), _listed(categories), _listed(text), group, time
    )
    texts = Texts.of(tokenizer, vocab_size, context, known) if reads_tokens else None
    wanted = Wanted(
        target_kind, target_scale, split, validation, held_out, split_seed, limit, texts
    )
    table = Table(file, separator, encoding, nothing=words[0] if words else "")

    def built(store: Store) -> Built:
        reading = Reading(
            words, decimal, table.divided_at, roles.categories, roles.text, roles.columns
        )
        rows = Rows(table, roles, words)
        return build(rows, reading, wanted, store, learned=learned, whole=whole)

    status = file.stat()
    try:
        if status.st_size < SMALL:
            arrays: dict[str, NDArray[Any]] = {}

            def store(name: str, shape: tuple[int, ...], kind: Any) -> NDArray[Any]:
                arrays[name] = np.empty(shape, dtype=kind)
                return arrays[name]

            facts = built(store)
            tensors = {name: torch.from_numpy(a) for name, a in arrays.items()}
            found = _dataset(table, facts, tensors)
        else:
            as_run = None if learned is None else learned.plain()
            how = [vars(roles), asdict(wanted), words, separator, decimal, encoding, as_run, whole]
            content = [CACHE_VERSION, file.name, status.st_size, status.st_mtime_ns, how]
            key = hashlib.sha256(json.dumps(content).encode()).hexdigest()[:32]
            folder = data_root(root) / "table-cache" / key
            if not folder.exists():
                _write(folder, built)
            found = _open(table, folder)
    except BadTableError as error:
        raise DataError(f"{printable(file.name)}: {error}") from error
    except OSError as error:
        raise DataError(f"{file} cannot be read: {error.strerror or error}") from error
    now = file.stat()
    if (now.st_size, now.st_mtime_ns) != (status.st_size, status.st_mtime_ns):
        raise DataError(f"{printable(file.name)} changed while it was read: run again")
    if not whole:
        require_examples(file.name, found.splits)
    rows = found.test_rows if folds else None
    return replace(found, baselines=baselines, test_rows=rows)


def _listed(names: str | list[str] | None) -> tuple[str, ...]:
    return (names,) if isinstance(names, str) else tuple(names or ())


def _dataset(
    table: Table, built: Built, rows: Mapping[str, Tensor], mapping: mmap.mmap | None = None
) -> Dataset:
    """The rows cut into splits, one after the other."""
    parts, places, start = {}, {}, 0
    for name in SPLITS:
        end = start + built.counts[name]
        columns = {key: column[start:end] for key, column in rows.items() if key != PLACES}
        parts[name], places[name] = Arrays(columns, mapping), rows[PLACES][start:end]
        start = end
    train, validation, test = parts.values()
    return Dataset(
        built.info,
        train,
        validation,
        test,
        notes=tuple(built.notes),
        test_rows=places["test"],
        origins=TableRows(table, places),
    )


def _write(folder: Path, built: Callable[[Store], Built]) -> None:
    """Read a table into a cache."""
    with new_cache(folder, WHAT) as part:
        kinds: dict[str, Any] = {}

        def store(name: str, shape: tuple[int, ...], kind: Any) -> NDArray[Any]:
            kinds[name] = [list(shape), np.dtype(kind).name]
            return np.memmap(part / f"{name}.bin", mode="w+", shape=shape, dtype=kind)

        found = built(store)
        index = {"info": found.info.plain(), "counts": found.counts, "notes": found.notes}
        (part / "names.json").write_text(json.dumps(sorted(kinds)))
        sign(part, {**index, "arrays": kinds}, _files(kinds))


def _files(names: Iterable[str]) -> list[str]:
    return [f"{name}.bin" for name in sorted(names)]


def _open(table: Table, folder: Path) -> Dataset:
    """Map a finished cache. Raises DataError where it is damaged."""
    try:
        index = read_index(folder, _files(json.loads((folder / "names.json").read_text())))
        info, counts = DataInfo.of_plain(index["info"]), index["counts"]
        tensors, mapping = {}, None
        for name, (shape, kind) in index["arrays"].items():
            found = mapped(folder / f"{name}.bin")
            mapping = mapping or found
            flat = torch.frombuffer(found, dtype=getattr(torch, kind))
            tensors[name] = flat.view(shape)
    except Exception as error:  # damaged JSON and arrays raise all sorts
        raise damaged(folder, WHAT, "read the table afresh") from error
    return _dataset(table, Built(info, counts, index["notes"]), tensors, mapping)

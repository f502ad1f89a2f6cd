"""A folder with all it takes to use a run's network elsewhere, made whole or not at all."""

import importlib
import inspect
import json
import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from torch import nn

from trainwright import __version__
from trainwright.data.columns import Column, Image, Numbers, Series
from trainwright.data.dataset import DataInfo
from trainwright.errors import ConfigError, DiskError
from trainwright.inference.export.example import example_script
from trainwright.inference.export.formats import FILES, write
from trainwright.inference.export.source import IMAGE, VIEWS, write_module, write_source
from trainwright.inference.trained import Trained
from trainwright.tasks.ports import Portable
from trainwright.tasks.task import Task, can, kind_of

FORMAT = 1


def export(trained: Trained, name: str, forms: Sequence[str], folder: Path) -> dict[str, float]:
    """Write model.<form> for each of `forms`, model.json and example.py to a new folder.

    The example is for the first of `forms`. Returns by how much each differs from the run's own
    outputs. Raises ConfigError where the folder exists, DiskError where it can't be written.
    """
    with new_folder(folder) as temporary:
        network = portable(trained)
        differences = {form: write(network, form, temporary) for form in forms}
        write_facts(describe(trained, network, name, forms), forms, temporary)
    return differences


@contextmanager
def new_folder(folder: Path) -> Iterator[Path]:
    """A temporary folder, which takes the name when all has gone well, and else is gone.

    Raises ConfigError where there is such a folder, DiskError where it can't be written.
    """
    if folder.exists():
        raise ConfigError(f"out={folder} exists already\n  name a new folder: out=...")
    temporary = folder.with_name(f".{folder.name}.{os.getpid()}.tmp")
    try:
        temporary.mkdir(parents=True)
        yield temporary
        temporary.rename(folder)
    except OSError as error:
        raise DiskError(f"could not write {folder}\n  {error.strerror or error}") from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def write_facts(facts: Mapping[str, Any], forms: Sequence[str], folder: Path) -> None:
    """Write what stands beside the models: model.json, example.py, and the code that these need."""
    (folder / "model.json").write_text(json.dumps(facts, indent=2) + "\n")
    (folder / "example.py").write_text(example_script(dict(facts), forms[0]))
    if "image" in facts:
        write_module(IMAGE, folder)
    if "safetensors" in forms:
        write_source(facts["network"]["target"], folder)
        if "tta" in facts:
            write_module(VIEWS, folder)


def portable(trained: Trained) -> Portable:
    """What of a run is worth taking elsewhere. Raises ConfigError for a task without ports."""
    if not can(trained.task, "portable"):
        raise ConfigError(
            f"this run cannot be exported: {kind_of(trained.task)} says nothing of its inputs and "
            "outputs\n  a task that can has a method `portable`; the weights are in the "
            "checkpoint, a safetensors file"
        )
    made: Portable = trained.task.portable()  # type: ignore[operator]
    for parameter in made.parameters():
        parameter.data = parameter.data.float().contiguous()
    return made.eval()


def describe(
    trained: Trained, network: Portable, name: str, forms: Sequence[str]
) -> dict[str, Any]:
    """What model.json says: inputs, output, preprocessing, classes, where it comes from."""
    info = trained.info
    model = dict(trained.plan.model.node)
    target = model.pop("_target_")
    facts: dict[str, Any] = {
        "format": FORMAT,
        "name": name,
        "task": network.does,
        "data": info.name,
        "class_names": list(info.class_names),
        "num_classes": info.num_classes,
        "inputs": [port.describe() for port in network.inputs],
        "output": network.output.describe(),
        "normalisation": {
            **_normalisation(trained.task.columns, [port.name for port in network.inputs]),
            "where": "inside model.pt2 and model.onnx; model.safetensors is the bare network, "
            "which takes inputs * scale + shift, channel by channel",
        },
        "files": {form: FILES[form] for form in forms},
        "network": {
            "target": target,
            **_arguments(target, info, model),
            "part": _part(trained.task, network.network),
        },
        "step": trained.step,
        "trainwright": __version__,
    }
    if info.feature_names:
        facts["feature_names"] = list(info.feature_names)
    return {**facts, **network.facts}


def _part(task: Task, network: nn.Module) -> str:
    """Where in the model, which is an attribute of the task, the network is; empty: it is all."""
    places = (name for name, module in task.named_modules() if module is network)
    return next(places, "").partition(".")[2]


def _normalisation(columns: Mapping[str, Column], inputs: Sequence[str]) -> dict[str, Any]:
    """Scale and shift of the input, of several of each by name; not of tokens or codes."""
    found: dict[str, dict[str, Any]] = {}
    for name in inputs:
        column = columns.get(name)
        if isinstance(column, Image | Numbers | Series):
            scale, shift = column.numbers
            found[name] = {"scale": list(scale), "shift": list(shift)}
        if isinstance(column, Numbers) and (column.fill or column.limit):
            missing = {"fill": list(column.fill), "flagged": list(column.flagged)}
            found[name] |= {**missing, "limit": column.limit}
    return next(iter(found.values()), {}) if len(inputs) == 1 else found


def _arguments(target: str, info: DataInfo, model: Mapping[str, Any]) -> dict[str, Any]:
    """What the network's factory is given: the config's, and facts that it has a parameter for.

    All as plain JSON types; the columns, which are made of those again, by themselves.
    """
    module, _, factory = target.rpartition(".")
    parameters = inspect.signature(getattr(importlib.import_module(module), factory)).parameters
    sizes = {**info.facts, "input_shape": list(info.input_shape)}
    del sizes["columns"]
    wanted = {name: value for name, value in sizes.items() if name in parameters}
    columns = {"columns": info.plain()["columns"]} if "columns" in parameters else {}
    return {"arguments": {**wanted, **model}, **columns}

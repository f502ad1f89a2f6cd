"""A folder with all it takes to use a run's network elsewhere, made whole or not at all."""

import importlib
import inspect
import json
import os
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from trainwright import __version__
from trainwright.errors import ConfigError, DiskError
from trainwright.inference.export.example import example_script
from trainwright.inference.export.formats import FILES, write
from trainwright.inference.export.network import Portable, portable
from trainwright.inference.export.source import IMAGE, VIEWS, write_module, write_source
from trainwright.inference.predict import fit_of
from trainwright.inference.trained import Trained
from trainwright.tasks.classifier import Classifier
from trainwright.tasks.gan.task import GANTask
from trainwright.tasks.regression import Regression

FORMAT = 1


def export(trained: Trained, name: str, forms: Sequence[str], folder: Path) -> dict[str, float]:
    """Write model.<form> for each of `forms`, model.json and example.py to a new folder.

    The example is for the first of `forms`. Returns by how much each differs from the run's own
    outputs. Raises ConfigError where the folder exists, DiskError where it can't be written.
    """
    if folder.exists():
        raise ConfigError(f"out={folder} exists already\n  name a new folder: out=...")
    network = portable(trained)
    facts = describe(trained, network, name, forms)
    temporary = folder.with_name(f".{folder.name}.{os.getpid()}.tmp")
    try:
        temporary.mkdir(parents=True)
        differences = {form: write(network, form, temporary) for form in forms}
        (temporary / "model.json").write_text(json.dumps(facts, indent=2) + "\n")
        (temporary / "example.py").write_text(example_script(facts, forms[0]))
        if "image" in facts:
            write_module(IMAGE, temporary)
        if "safetensors" in forms:
            write_source(facts["network"]["target"], temporary)
            if "tta" in facts:
                write_module(VIEWS, temporary)
        temporary.rename(folder)
    except OSError as error:
        raise DiskError(f"could not write {folder}\n  {error.strerror or error}") from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return differences


def describe(
    trained: Trained, network: Portable, name: str, forms: Sequence[str]
) -> dict[str, Any]:
    """What model.json says: inputs, output, preprocessing, classes, where it comes from."""
    info, task = trained.info, trained.task
    model = dict(trained.plan.model.node)
    target = model.pop("_target_")
    sizes = {
        "input_shape": list(info.input_shape),
        "num_outputs": info.num_outputs,
        "num_classes": info.num_classes,
    }
    facts: dict[str, Any] = {
        "format": FORMAT,
        "name": name,
        "task": "gan" if isinstance(task, GANTask) else type(task).__name__.lower(),
        "data": info.name,
        "class_names": list(info.class_names),
        "num_classes": task.model.num_classes if isinstance(task, GANTask) else info.num_classes,
        "inputs": [port.describe() for port in network.inputs],
        "output": network.output.describe(),
        "normalisation": {
            "scale": list(task.normalisation.scale),
            "shift": list(task.normalisation.shift),
            "where": "inside model.pt2 and model.onnx; model.safetensors is the bare network, "
            "which takes inputs * scale + shift, channel by channel",
        },
        "files": {form: FILES[form] for form in forms},
        "network": {"target": target, "arguments": {**_wanted(target, sizes), **model}},
        "step": trained.step,
        "trainwright": __version__,
    }
    if info.is_image and info.input_shape[0] in (1, 3) and not isinstance(task, GANTask):
        facts["image"] = {
            "mode": "L" if info.input_shape[0] == 1 else "RGB",
            "height": info.input_shape[1],
            "width": info.input_shape[2],
            "fit": fit_of(trained),
        }
    if info.feature_names:
        facts["feature_names"] = list(info.feature_names)
    if isinstance(task, Classifier) and task.tta != "none":
        facts["tta"] = {
            "views": task.tta,
            "where": "inside model.pt2 and model.onnx, whose logits are the mean over the views; "
            "for model.safetensors views.py has them",
        }
    if isinstance(task, Regression):
        facts["target_unit"] = {"std": info.target_std, "mean": info.target_mean}
    return facts


def _wanted(target: str, sizes: dict[str, Any]) -> dict[str, Any]:
    """Those facts about the data that the network's factory has a parameter for."""
    module, _, factory = target.rpartition(".")
    parameters = inspect.signature(getattr(importlib.import_module(module), factory)).parameters
    return {name: value for name, value in sizes.items() if name in parameters}

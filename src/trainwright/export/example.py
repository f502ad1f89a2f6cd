"""The script that comes with an export: what it takes to use it, in some twenty lines."""

from typing import Any

from trainwright.export.formats import FILES

_HEAD = '''\
"""{title}

Made by trainwright. {needs}
"""

import json
import sys
from pathlib import Path

{imports}
here = Path(__file__).parent
facts = json.loads((here / "model.json").read_text())
'''
_NEEDS = {
    "safetensors": (
        "Needs trainwright.",
        "import torch\nfrom safetensors.torch import load_file\n",
    ),
    "pt2": ("Needs torch.", "import torch\n"),
    "onnx": ("Needs onnxruntime.", "import onnxruntime\n"),
}
_LOAD = {
    "pt2": 'model = torch.export.load(here / "{file}").module()\n',
    "onnx": 'session = onnxruntime.InferenceSession(here / "{file}")\n',
}
_REBUILD = """\
model = {factory}(**facts["network"]["arguments"]){generator}
model.load_state_dict(load_file(here / "{file}"))
model.eval()
"""
_IMAGE = """
# An image, as the network saw its own: {mode}, {width} x {height} pixels.
image = Image.open(sys.argv[1]).convert("{mode}").resize(({width}, {height}))
pixels = np.array(image).reshape(1, {height}, {width}, {channels})
inputs = np.ascontiguousarray(pixels.transpose(0, 3, 1, 2))  # (1, C, H, W), uint8
"""
_TABLE = """
# One example: its {num_features} features, in the order of the table.
inputs = np.array([[float(word) for word in sys.argv[1:]]], dtype=np.float32)  # (1, F)
"""
_LATENTS = """
# Sixteen images; each seed has its own.
generator = np.random.default_rng(0)
latents = generator.standard_normal((16, {latent_dim})).astype(np.float32)  # (B, Z)
{classes}"""
_CLASSES = """\
classes = np.arange(16) % {num_classes}  # (B,), int64
"""
_CLASSES_OUT = """
share = np.exp(outputs[0] - outputs[0].max())
share = share / share.sum()
for index in np.argsort(-share)[:3]:
    print(f"{share[index]:7.2%}  {facts['class_names'][index]}")
"""
_VALUES_OUT = """
print(outputs[0])
"""
_IMAGES_OUT = """
rows = [np.concatenate(list(row), axis=2) for row in outputs.reshape(4, 4, {shape})]
grid = np.concatenate(rows, axis=1)  # (C, 4 * H, 4 * W)
pixels = (grid.transpose(1, 2, 0) * 255).round().clip(0, 255).astype(np.uint8).squeeze()
Image.fromarray(pixels).save("samples.png")
print("samples.png")
"""


def example_script(facts: dict[str, Any], form: str) -> str:
    """A script for `model.json` as given: an image, a table's row, or nothing goes in."""
    shape = facts["inputs"][0]["shape"][1:]
    draws = facts["task"] == "gan"
    needs, imports = _NEEDS[form]
    imports = "import numpy as np\n" + imports
    if draws or len(shape) == 3:
        imports += "from PIL import Image\n"
    if form == "safetensors":
        module, _, factory = facts["network"]["target"].rpartition(".")
        imports += f"from {module} import {factory}\n"
        load = _REBUILD.format(
            factory=factory, generator=".generator" if draws else "", file=FILES[form]
        )
    else:
        load = _LOAD[form].format(file=FILES[form])
    usage = "" if draws else (" IMAGE" if len(shape) == 3 else " FEATURE FEATURE ...")
    name = "".join(c if c.isalnum() or c in "-_." else "_" for c in facts["name"])  # it is code
    title = f"{name}: python example.py{usage}"
    head = _HEAD.format(title=title, needs=needs, imports=imports)
    return head + load + _given(facts, shape) + _called(facts, form) + _told(facts)


def _given(facts: dict[str, Any], shape: list[int]) -> str:
    if facts["task"] == "gan":
        classes = _CLASSES.format(num_classes=facts["num_classes"]) if facts["num_classes"] else ""
        return _LATENTS.format(latent_dim=shape[0], classes=classes)
    if len(shape) != 3:
        return _TABLE.format(num_features=shape[0])
    channels, height, width = shape
    mode = "L" if channels == 1 else "RGB"
    return _IMAGE.format(mode=mode, height=height, width=width, channels=channels)


def _called(facts: dict[str, Any], form: str) -> str:
    names = [port["name"] for port in facts["inputs"]]
    if form == "onnx":
        given = ", ".join(f'"{name}": {name}' for name in names)
        return f"(outputs,) = session.run(None, {{{given}}})\n"
    given = ", ".join(f"torch.from_numpy({name})" for name in names)
    if form == "pt2":
        return f"with torch.no_grad():\n    outputs = model({given}).numpy()\n"
    if facts["task"] == "gan":  # the weights alone: what the graphs have inside is done here
        return f"with torch.no_grad():\n    outputs = (model({given}).numpy() + 1) / 2\n"
    lines = [
        'scale, shift = (torch.tensor(facts["normalisation"][k]) for k in ("scale", "shift"))',
        "each = (1, -1) + (1,) * (inputs.ndim - 2)",
        "inputs = torch.from_numpy(inputs).float() * scale.view(each) + shift.view(each)",
        "with torch.no_grad():",
        "    outputs = model(inputs).numpy()",
    ]
    if facts["task"] == "regression":
        unit = facts["target_unit"]
        lines.append(f"outputs = outputs[:, 0] * {unit['std']!r} + {unit['mean']!r}")
    return "\n".join(lines) + "\n"


def _told(facts: dict[str, Any]) -> str:
    if facts["task"] == "gan":
        return _IMAGES_OUT.format(shape=", ".join(map(str, facts["output"]["shape"][1:])))
    return _CLASSES_OUT if facts["task"] == "classifier" else _VALUES_OUT

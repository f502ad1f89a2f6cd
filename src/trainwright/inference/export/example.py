"""The script that comes with an export: what it takes to use it, in twenty lines at most."""

from typing import Any

from trainwright.inference.export.formats import FILES
from trainwright.inference.export.source import IMAGE, VIEWS, import_of

_NEEDS = {"safetensors": "torch, safetensors", "pt2": "torch", "onnx": "onnxruntime"}
_FACTS = 'facts = json.loads(Path(__file__).with_name("model.json").read_text())\n'
_LOAD = {
    "safetensors": """\
model = {factory}({given}**facts["network"]["arguments"]){part}.eval()
model.load_state_dict(load_file(Path(__file__).with_name("{file}")))
""",
    "pt2": 'model = torch.export.load(Path(__file__).with_name("{file}")).module()\n',
    "onnx": 'session = onnxruntime.InferenceSession(Path(__file__).with_name("{file}"))\n',
}
_IMAGE = """\
{name} = decode_image(Path(sys.argv[1]), size={size}, channels={channels}, fit="{fit}")[None]
"""
_ROW = """\
{name} = np.array([[float(word) for word in sys.argv[1:]]], dtype=np.float32)  # (1, F)
"""
_ARRAY = """\
{name} = np.load(sys.argv[{place}])[None].astype("{dtype}")
"""
_LATENTS = """\
latents = np.random.default_rng(seed=0).standard_normal((16, {size}), dtype=np.float32)
"""
_CLASSES = "classes = np.arange(16) % {num_classes}\n"
_NORMALISATION = """\
scale, shift = (torch.tensor(facts["normalisation"][k]){axes} for k in ("scale", "shift"))
"""
_NORMALISED = """\
scale, shift = (torch.tensor(facts["normalisation"]["{name}"][k]){axes} for k in ("scale", "shift"))
{name} = torch.from_numpy({name}) * scale + shift
"""
_COLUMNS = """\
columns = {name: column_of(plain) for name, plain in facts["network"]["columns"].items()}
"""
_SHARES = "shares = {outputs}.softmax(1)[0].tolist()\n"
_SHARES_OF_LOGITS = """\
(logits,) = {outputs}
shares = np.exp(logits[0] - logits[0].max())
shares = shares / shares.sum()
"""
_LIKELIEST = """\
for share, name in sorted(zip(shares, facts["class_names"]), reverse=True)[:3]:
    print(f"{share:7.2%}  {name}")
"""
_GRID = """\
grid = images.reshape(4, 4, {shape}).transpose(0, 3, 1, 4, 2).reshape({grid_shape})
Image.fromarray((grid * 255).round().clip(0, 255).astype(np.uint8)).save("samples.png")
print("samples.png")
"""


def example_script(facts: dict[str, Any], form: str) -> str:
    """A script for `model.json` as given: an image, a table's row, or nothing goes in."""
    told = {"gan": _drawn, "classifier": _classified, "regression": _valued}.get(facts["task"])
    if told is None or (told is not _drawn and len(facts["inputs"]) > 1):
        told = _printed
    body = _load(facts, form) + _inputs(facts) + told(facts, form)
    if "facts" in body:
        body = _FACTS + body
    return "\n".join([_docstring(facts, form), *_imports(facts, body), "", body])


def _docstring(facts: dict[str, Any], form: str) -> str:
    makes = {
        "gan": "sixteen images",
        "classifier": "the likeliest classes",
        "regression": "the value",
    }
    has_pictures = facts["task"] == "gan" or "image" in facts
    needs = f"{_NEEDS[form]}, numpy" + (", pillow" if has_pictures else "")
    needs += ", trainwright" if form == "safetensors" and "columns" in facts["network"] else ""
    what = makes.get(facts["task"], f"the {facts['output']['name']}")
    return f'"""python example.py{_usage(facts)}: {what}. Needs {needs}."""'


def _usage(facts: dict[str, Any]) -> str:
    if facts["task"] == "gan":
        return ""
    if "image" in facts:
        return " IMAGE"
    names = [port["name"] for port in facts["inputs"]]
    return " FEATURE ..." if _is_table(facts) else "".join(f" {name}.npy" for name in names)


def _is_table(facts: dict[str, Any]) -> bool:
    first, *others = facts["inputs"]
    return not others and len(first["shape"]) == 2 and first["dtype"] == "float32"


def _imports(facts: dict[str, Any], body: str) -> list[str]:
    """Those that the script needs, each because its name occurs."""
    wanted = {
        "json.": "import json",
        "sys.": "import sys",
        "Path(": "from pathlib import Path",
        "": "",
        "np.": "import numpy as np",
        "onnxruntime.": "import onnxruntime",
        "torch.": "import torch",
        "decode_image(": f"from {IMAGE} import decode_image",
        "**facts": import_of(facts["network"]["target"]),
        "Image.": "from PIL import Image",
        "column_of(": "from trainwright.data.columns import column_of",
        "load_file(": "from safetensors.torch import load_file",
        "mean_over_views(": f"from {VIEWS} import mean_over_views",
    }
    return [line for name, line in wanted.items() if name in body]


def _load(facts: dict[str, Any], form: str) -> str:
    factory = facts["network"]["target"].rpartition(".")[2]
    part = facts["network"]["part"] and f".{facts['network']['part']}"
    takes_columns = form == "safetensors" and "columns" in facts["network"]
    given = "columns=columns, " if takes_columns else ""
    load = _LOAD[form].format(factory=factory, part=part, file=FILES[form], given=given)
    return (_COLUMNS if takes_columns else "") + load


def _inputs(facts: dict[str, Any]) -> str:
    names = [port["name"] for port in facts["inputs"]]
    _, *shape = facts["inputs"][0]["shape"]
    if facts["task"] == "gan":
        classes = _CLASSES.format(num_classes=facts["num_classes"]) if facts["num_classes"] else ""
        return _LATENTS.format(size=shape[0]) + classes
    if len(names) == 1 and "image" in facts:
        size, fit = tuple(shape[1:]), facts["image"]["fit"]
        return _IMAGE.format(name=names[0], channels=shape[0], size=size, fit=fit)
    if _is_table(facts):
        return _ROW.format(name=names[0])
    ports = enumerate(facts["inputs"], 1)
    return "".join(_ARRAY.format(place=place, **port) for place, port in ports)


def _classified(facts: dict[str, Any], form: str) -> str:
    shares = _SHARES_OF_LOGITS if form == "onnx" else _SHARES
    normalised, outputs = _outputs(facts, form)
    if form == "safetensors" and "calibration" in facts:
        outputs = f"({outputs} / {facts['calibration']['temperature']!r})"
    return normalised + shares.format(outputs=outputs) + _LIKELIEST


def _valued(facts: dict[str, Any], form: str) -> str:
    normalised, outputs = _outputs(facts, form)
    if form == "onnx":
        return f"(values,) = {outputs}\nprint(values[0])\n"
    if form == "pt2":
        return f"print({outputs}.item())\n"
    unit = facts["target_unit"]
    return f"{normalised}print({outputs}.item() * {unit['std']!r} + {unit['mean']!r})\n"


def _printed(facts: dict[str, Any], form: str) -> str:
    normalised, outputs = _outputs(facts, form)
    return f"{normalised}print({outputs})\n"


def _drawn(facts: dict[str, Any], form: str) -> str:
    _, outputs = _outputs(facts, form)
    images = {
        "onnx": f"(images,) = {outputs}\n",
        "pt2": f"images = {outputs}.detach().numpy()\n",
        # The bare network gives what it was trained with, from -1 to 1.
        "safetensors": f"images = {outputs}.detach().numpy() / 2 + 0.5\n",
    }[form]
    channels, height, width = facts["output"]["shape"][1:]
    shown = 3 if channels >= 3 else 1  # what a screen can show of them
    if shown < channels:
        channels, images = shown, images + f"images = images[:, :{shown}]\n"
    grid_shape = f"{4 * height}, {4 * width}" + (f", {channels}" if channels > 1 else "")
    return images + _GRID.format(shape=f"{channels}, {height}, {width}", grid_shape=grid_shape)


def _outputs(facts: dict[str, Any], form: str) -> tuple[str, str]:
    """Lines before it or nothing, and the network called with the inputs."""
    names = [port["name"] for port in facts["inputs"]]
    if form == "onnx":
        given = ", ".join(f'"{name}": {name}' for name in names)
        return "", f"session.run(None, {{{given}}})"
    tensors = [f"torch.from_numpy({name})" for name in names]
    if form == "pt2" or facts["task"] == "gan":
        return "", f"model({', '.join(tensors)})"
    if len(names) > 1:
        given = ", ".join(f"{name}={name}" for name in names)
        return "".join(_normalised(facts, port) for port in facts["inputs"]), f"model({given})"
    if "scale" not in facts["normalisation"]:
        return "", f"model({tensors[0]})"
    axes = ".view(-1, 1, 1)" if len(facts["inputs"][0]["shape"]) == 4 else ""
    normalised, given = _NORMALISATION.format(axes=axes), f"{tensors[0]} * scale + shift"
    if "tta" in facts:
        views = facts["tta"]["views"]
        return f"{normalised}seen = {given}\n", f'mean_over_views(model, seen, "{views}")'
    return normalised, f"model({given})"


def _normalised(facts: dict[str, Any], port: dict[str, Any]) -> str:
    """One of several inputs as the bare network sees it."""
    name = port["name"]
    if name not in facts["normalisation"]:
        return f"{name} = torch.from_numpy({name})\n"
    axes = ".view(-1, 1, 1)" if len(port["shape"]) == 4 else ""
    return _NORMALISED.format(name=name, axes=axes)

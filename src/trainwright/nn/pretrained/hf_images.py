"""Networks for images of transformers (https://huggingface.co/docs/transformers)."""

import re
from collections.abc import Callable, Mapping
from math import inf
from pathlib import Path
from typing import Any

from torch import Tensor

from trainwright.errors import require_extra
from trainwright.files import typed_path
from trainwright.nn.pretrained.building import built
from trainwright.nn.pretrained.folder import (
    IMAGE_NETWORKS,
    check_weights,
    checked,
    read_architecture,
    read_json,
)
from trainwright.nn.pretrained.images import Freeze, PretrainedImages

SCALING = "preprocessor_config.json"
HEAD = "classifier."  # of all that are known here
_NAME = re.compile(r"[\w-][\w.-]*/[\w-][\w.-]*")


def hf_images(
    *,
    path: str,
    columns: Mapping[str, Any],
    inputs: Mapping[str, Any],
    num_outputs: int,
    train_inputs: Callable[..., Tensor] | None = None,
    pretrained: bool = True,
    size: int | None = None,
    freeze: Freeze = "none",
    architecture: Mapping[str, Any] | None = None,
) -> PretrainedImages:
    """The network of a folder with config.json and model.safetensors, with a new last layer.

    `path`: the folder, or a name such as google/vit-base-patch16-224, which is fetched once.
    `size`: of the images that it is given, pixels; None: those that it learned from.
    `architecture`: what the checkpoint of a run remembers of config.json and of the scaling; then
    the folder is not looked at. Raises ValueError where there is no such network.
    """
    weights = None
    if architecture is None:
        folder = _folder(path)
        said = read_json(folder / SCALING) if (folder / SCALING).is_file() else {}
        architecture = {**read_architecture(str(folder), IMAGE_NETWORKS), "scaling": said}
        if pretrained:
            found = check_weights(str(folder))
            weights = None if train_inputs is None else found  # None: of a stand-in
    known = checked(architecture, IMAGE_NETWORKS)
    known["scaling"] = scaling = _scaling(known.get("scaling", {}))
    plain = {k: v for k, v in known.items() if k not in ("scaling", "id2label", "label2id")}
    network, missing = built(
        "AutoModelForImageClassification", {**plain, "num_labels": num_outputs}, weights
    )
    lacking = [key for key in missing if not key.startswith(HEAD)]
    if lacking:
        raise ValueError(f"path={path}: its weights do not fit its config.json: {lacking[0]}")
    shape = getattr(network.config, "image_size", None) or 224
    return PretrainedImages(
        network,
        columns=columns,
        inputs=inputs,
        size=size or (shape if isinstance(shape, int) else max(shape)),
        mean=scaling["image_mean"],
        std=scaling["image_std"],
        head=[key for key, _ in network.named_parameters() if key.startswith(HEAD)],
        freeze=freeze,
        architecture=known,
    )


def _folder(path: str) -> Path:
    """The folder that is meant, or fetched by its name. Raises ValueError where there is none."""
    folder = typed_path(path)
    if folder.exists() or not _NAME.fullmatch(path):
        return folder
    require_extra("model=hf_image", "huggingface_hub", extra="hf")
    import huggingface_hub

    wanted = ["config.json", SCALING, "model*.safetensors", "model.safetensors.index.json"]
    try:
        return Path(huggingface_hub.snapshot_download(path, allow_patterns=wanted))
    except Exception as error:
        first = next(iter(str(error).strip().splitlines()), type(error).__name__)
        raise ValueError(
            f"path={path}: no such folder, and no network of that name can be fetched\n"
            f"  {first[:100]}"
        ) from error


def _scaling(said: Any) -> dict[str, list[float]]:
    """Mean and deviation of three colours. Raises ValueError for what are none."""
    made = {}
    for key, lowest in (("image_mean", -inf), ("image_std", 0)):
        values = (said.get(key) or [0.5] * 3) if isinstance(said, Mapping) else None
        if not (
            isinstance(values, list)
            and len(values) == 3
            and all(isinstance(v, int | float) and lowest < v < inf for v in values)
        ):
            raise ValueError(f"{SCALING}: {key} is not three numbers")
        made[key] = values
    return made

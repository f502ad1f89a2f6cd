"""Networks for images of transformers (https://huggingface.co/docs/transformers)."""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from trainwright.errors import require_extra
from trainwright.nn.pretrained.images import Freeze, PretrainedImages

FILE = "preprocessor_config.json"


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
) -> PretrainedImages:
    """The network of a folder with config.json and model.safetensors, with a new last layer.

    `path`: the folder, which is read again for its form whenever the run is; or a name, where there
    is a network. `size`: of the images that it is given, pixels; None: those that it learned from.
    Raises ValueError where there is no such network.
    """
    require_extra("model=hf_image", "transformers", extra="hf")
    from transformers import AutoConfig, AutoModelForImageClassification
    from transformers.utils import logging as transformers_logging

    made: Any = AutoModelForImageClassification
    logging: Any = transformers_logging
    logging.set_verbosity_error()  # it tells at length that the last layer begins anew
    logging.disable_progress_bar()

    folder = Path(path).expanduser()
    source = str(folder) if folder.is_dir() else path
    try:
        config = AutoConfig.from_pretrained(source, num_labels=num_outputs)
        if pretrained and train_inputs is not None:
            network: Any = made.from_pretrained(
                source,
                config=config,
                use_safetensors=True,
                ignore_mismatched_sizes=True,
                dtype=torch.float32,
            )
        else:
            network = made.from_config(config, dtype=torch.float32)
    except (OSError, ValueError, KeyError) as error:
        raise ValueError(
            f"path={path}: no network for images with weights in safetensors\n"
            f"  {str(error).strip().splitlines()[0][:100]}"
        ) from error
    known = json.loads((folder / FILE).read_text()) if (folder / FILE).is_file() else {}
    return PretrainedImages(
        network,
        columns=columns,
        inputs=inputs,
        size=size or int(getattr(config, "image_size", None) or 224),
        mean=known.get("image_mean", [0.5] * 3),
        std=known.get("image_std", [0.5] * 3),
        head=[key for key, _ in network.named_parameters() if key.startswith("classifier.")],
        freeze=freeze,
    )

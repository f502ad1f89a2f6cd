"""Networks of timm (https://huggingface.co/docs/timm), by name."""

import importlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from trainwright.errors import require_extra
from trainwright.files import typed_path
from trainwright.nn.pretrained.images import Freeze, PretrainedImages
from trainwright.wording import nearest, printable


def timm_images(
    *,
    name: str,
    columns: Mapping[str, Any],
    inputs: Mapping[str, Any],
    num_outputs: int,
    train_inputs: Callable[..., Tensor] | None = None,
    pretrained: bool = True,
    weights: str | None = None,
    size: int | None = None,
    freeze: Freeze = "none",
) -> PretrainedImages:
    """The network of that name with a new last layer.

    `pretrained`: with the weights that it comes with, fetched once, or those of the safetensors
    file `weights`. `size`: of the images that it is given, pixels; None: those that it learned
    from. `train_inputs`: None where a checkpoint brings all weights. Raises ValueError for a name
    that there is not, or weights that do not fit.
    """
    require_extra("model=timm", "timm", extra="timm")
    timm: Any = importlib.import_module("timm")
    if not timm.is_model(name):
        known = [str(model) for model in timm.list_models()]
        raise ValueError(f"timm has no network {printable(name)}{nearest(name, known)}")
    begins = train_inputs is not None
    fetched = begins and pretrained and weights is None
    try:
        network: Any = timm.create_model(name, pretrained=fetched, num_classes=num_outputs)
    except Exception as error:
        if not fetched:
            raise
        raise ValueError(
            f"the weights of {name} cannot be fetched: {str(error).splitlines()[0][:100]}\n"
            "  from a file: model.weights=model.safetensors; without: model.pretrained=false"
        ) from error
    last = network.get_classifier()
    own = {id(parameter) for parameter in last.parameters()}
    head = [key for key, parameter in network.named_parameters() if id(parameter) in own]
    if begins and weights is not None:
        load_weights(network, typed_path(weights), head)
    known = network.pretrained_cfg
    return PretrainedImages(
        network,
        columns=columns,
        inputs=inputs,
        size=size or known["input_size"][-1],
        mean=known["mean"],
        std=known["std"],
        head=head,
        freeze=freeze,
    )


def load_weights(network: nn.Module, path: Path, head: list[str]) -> None:
    """Take what a safetensors file has for a network, all but its head. Raises ValueError."""
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        found = load_file(path)
    except (OSError, SafetensorError) as error:
        raise ValueError(
            f"weights={path}: no safetensors file that can be read ({error})"
        ) from error
    wanted = {key: tensor for key, tensor in network.state_dict().items() if key not in head}
    for key, tensor in wanted.items():
        if key not in found or found[key].shape != tensor.shape:
            state = "is missing" if key not in found else f"is {tuple(found[key].shape)}"
            raise ValueError(f"weights={path}: of another network: {key} {state}")
    network.load_state_dict({key: found[key] for key in wanted}, strict=False)

"""What a folder of a pretrained model says of itself, checked before anything is built of it."""

import json
import re
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any

from trainwright.files import typed_path
from trainwright.wording import nearest, printable

# Networks whose code is in transformers itself. Any other name is refused, and so is code that a
# folder brings.
DECODERS = frozenset(
    {
        "arcee", "falcon", "gemma", "gemma2", "gpt2", "gpt_neo", "gpt_neox", "gptj", "granite",
        "llama", "mistral", "olmo", "olmo2", "opt", "phi", "phi3", "qwen2", "qwen3", "smollm3",
        "stablelm", "starcoder2",
    }
)  # fmt: skip
IMAGE_NETWORKS = frozenset(
    {
        "beit", "bit", "convnext", "convnextv2", "cvt", "data2vec-vision", "deit", "dinov2",
        "dinov2_with_registers", "efficientnet", "focalnet", "hiera", "ijepa", "mobilenet_v1",
        "mobilenet_v2", "mobilevit", "mobilevitv2", "poolformer", "pvt", "pvt_v2", "regnet",
        "resnet", "segformer", "swin", "swinv2", "vit", "vit_msn",
    }
)  # fmt: skip
LARGEST_CONFIG = 2**22  # bytes
# What lists are made of, before there is a tensor that could be counted.
_REPEATED, MOST_REPEATED = re.compile("layer|depth|block|stage|repeat|attention_types"), 1000
# What would be fetched from elsewhere, or says what this library chooses.
_LEFT_OUT = ("auto_map", "quantization_config", "attn_implementation", "experts_implementation")


def read_architecture(path: str, kinds: Collection[str] = DECODERS) -> dict[str, Any]:
    """What `config.json` of a folder says, as plain JSON types. Raises ValueError."""
    try:
        plain = read_json(typed_path(path) / "config.json")
    except OSError as error:
        raise ValueError(
            f"path={path} is not the folder of a model: config.json: {error.strerror}\n"
            "  it holds config.json, model.safetensors and tokenizer.json"
        ) from None
    return checked(plain, kinds)


def read_json(file: Path) -> Any:
    """What a file of a folder holds. Raises ValueError for what is not JSON, and OSError."""
    if file.stat().st_size > LARGEST_CONFIG:
        raise ValueError(f"{file} is larger than {LARGEST_CONFIG >> 20} MiB")
    try:
        return json.loads(file.read_text(encoding="utf-8"))
    except (UnicodeDecodeError, json.JSONDecodeError, RecursionError):
        raise ValueError(f"{file} is not JSON") from None


def checked(plain: Any, kinds: Collection[str] = DECODERS) -> dict[str, Any]:
    """An architecture that may be built. Raises ValueError for any other."""
    kind = plain.get("model_type") if isinstance(plain, Mapping) else None
    if not isinstance(kind, str) or kind not in kinds:
        what = "decoder" if kinds is DECODERS else "network for images"
        raise ValueError(
            f"model_type={printable(str(kind))[:40]} is not a {what} that is known here"
            f"{nearest(str(kind), kinds)}\n  known are: {', '.join(sorted(kinds))}"
        )
    known = {k: v for k, v in plain.items() if k not in _LEFT_OUT and not k.startswith("_")}
    for key, value in known.items():
        if _REPEATED.search(key) and any(n > MOST_REPEATED for n in _numbers(value)):
            raise ValueError(f"{printable(key)[:40]}: more than {MOST_REPEATED:,} is not built")
    return known


def _numbers(value: Any) -> Iterator[float]:
    if isinstance(value, list):
        for item in value:
            yield from _numbers(item)
    elif isinstance(value, int | float):
        yield value


def check_weights(path: str) -> Path:
    """The folder, which holds weights as safetensors. Raises ValueError for what is unsafe."""
    folder = typed_path(path)
    if (folder / "adapter_config.json").exists():
        raise ValueError(f"path={path} holds an adapter of peft: merge it into its model first")
    names = ("model.safetensors", "model.safetensors.index.json")
    if any((folder / name).is_file() for name in names):
        return folder
    if list(folder.glob("*.bin")) or list(folder.glob("*.pt")):
        raise ValueError(
            f"path={path} holds its weights as pickle, which could run any code\n"
            "  where you trust it, load it with transformers and save_pretrained it: that writes "
            "model.safetensors"
        )
    raise ValueError(f"path={path} holds no model.safetensors")

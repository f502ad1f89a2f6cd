"""What a folder of a pretrained model says of itself, checked before anything is built of it."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from trainwright.wording import nearest, printable

# Decoders whose code is in transformers itself. Any other name is refused, and so is code that a
# folder brings.
MODEL_TYPES = frozenset(
    {
        "arcee", "falcon", "gemma", "gemma2", "gpt2", "gpt_neo", "gpt_neox", "gptj", "granite",
        "llama", "mistral", "olmo", "olmo2", "opt", "phi", "phi3", "qwen2", "qwen3", "smollm3",
        "stablelm", "starcoder2",
    }
)  # fmt: skip
LARGEST_CONFIG = 2**22  # bytes
# What would be fetched from elsewhere, or says what this library chooses.
_LEFT_OUT = ("auto_map", "quantization_config", "attn_implementation", "experts_implementation")


def read_architecture(path: str) -> dict[str, Any]:
    """What `config.json` of a folder says, as plain JSON types. Raises ValueError."""
    file = Path(path).expanduser() / "config.json"
    try:
        if file.stat().st_size > LARGEST_CONFIG:
            raise ValueError(f"{file} is larger than {LARGEST_CONFIG >> 20} MiB")
        plain = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, RecursionError) as error:
        why = getattr(error, "strerror", None) or "not JSON"
        raise ValueError(
            f"path={path} is not the folder of a model: config.json: {why}\n"
            "  it holds config.json, model.safetensors and tokenizer.json"
        ) from None
    except (UnicodeDecodeError, json.JSONDecodeError):
        raise ValueError(f"{file} is not JSON") from None
    return checked(plain)


def checked(plain: Any) -> dict[str, Any]:
    """An architecture that may be built. Raises ValueError for any other."""
    kind = plain.get("model_type") if isinstance(plain, Mapping) else None
    if kind not in MODEL_TYPES:
        raise ValueError(
            f"model_type={printable(str(kind))[:40]} is not a decoder that is known here"
            f"{nearest(str(kind), MODEL_TYPES)}\n  known are: {', '.join(sorted(MODEL_TYPES))}"
        )
    return {k: v for k, v in plain.items() if k not in _LEFT_OUT and not k.startswith("_")}


def check_weights(path: str) -> Path:
    """The folder, which holds weights as safetensors. Raises ValueError for what is unsafe."""
    folder = Path(path).expanduser()
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

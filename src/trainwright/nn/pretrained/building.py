"""Networks of the library transformers, of an architecture that was checked."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from trainwright.errors import TrainwrightError, require_extra
from trainwright.wording import printable


def built(
    auto: str, architecture: Mapping[str, Any], folder: Path | None, **more: Any
) -> tuple[Any, list[str]]:
    """The network that a class such as AutoModelForCausalLM makes, and the weights it lacks.

    `folder`: where its weights are; None: it begins anew, and lacks none. No code of a folder runs.
    Raises ValueError where transformers cannot build it.
    """
    require_extra("a network of transformers", "transformers", extra="hf")
    import transformers

    transformers.utils.logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    transformers.utils.logging.set_verbosity_error()  # type: ignore[no-untyped-call]
    plain, made = {"architectures": [], **architecture}, getattr(transformers, auto)
    try:
        config = transformers.AutoConfig.for_model(plain.pop("model_type"), **plain)
        config.dtype = torch.float32
        if folder is None:
            return made.from_config(config, trust_remote_code=False, **more), []
        net, told = made.from_pretrained(
            str(folder),
            config=config,
            dtype=torch.float32,
            use_safetensors=True,
            local_files_only=True,
            trust_remote_code=False,
            ignore_mismatched_sizes=True,
            output_loading_info=True,
            **more,
        )
    except (TrainwrightError, MemoryError):
        raise
    except Exception as error:  # of any kind, for what a config says
        said = " ".join(str(error).split()) or type(error).__name__
        raise ValueError(f"transformers cannot build it: {printable(said)[:200]}") from error
    return net, sorted({*told["missing_keys"], *(key for key, *_ in told["mismatched_keys"])})

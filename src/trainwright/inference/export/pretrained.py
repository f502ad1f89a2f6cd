"""A language model as a folder that the library transformers loads."""

import json
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file

from trainwright import __version__
from trainwright.errors import ConfigError, TrainwrightError
from trainwright.inference.export.folder import new_folder
from trainwright.inference.export.formats import TOLERANCE
from trainwright.inference.trained import Trained
from trainwright.tasks.ports import Pretrained
from trainwright.tasks.task import can, kind_of

TRIED = (3, 64)  # texts and tokens of each, with which the two are compared


def export_pretrained(trained: Trained, folder: Path) -> float:
    """Write config, weights and tokenizer to a new folder, and load it as anybody would.

    Returns by how much the logits differ, as a share of the largest. Raises ConfigError where the
    folder exists or the network has no such form, DiskError where it can't be written.
    """
    if not can(trained.task, "pretrained"):
        raise ConfigError(
            f"format=hf is for language models, and this run is a {kind_of(trained.task)}"
        )
    try:
        made: Pretrained = trained.task.pretrained()  # type: ignore[operator]
    except ValueError as error:
        raise ConfigError(f"format=hf: {error}") from error
    with new_folder(folder) as temporary:
        _write(made, temporary)
        worst = _difference(made, temporary)
        if not worst <= TOLERANCE:
            raise TrainwrightError(
                f"{folder}: transformers' logits differ from the run's own by {worst:.2g} of the "
                "largest"
            )
    return worst


def _write(made: Pretrained, folder: Path) -> None:
    save_file(dict(made.tensors), folder / "model.safetensors", metadata={"format": "pt"})
    of_tokenizer = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "clean_up_tokenization_spaces": False,
        "eos_token": made.end,
    }
    longest = made.config.get("max_position_embeddings") or made.config.get("n_positions")
    if longest is not None:
        of_tokenizer["model_max_length"] = longest
    config = {**made.config, "trainwright": __version__}
    for name, content in (("config", config), ("tokenizer_config", of_tokenizer)):
        (folder / f"{name}.json").write_text(json.dumps(content, indent=2) + "\n")
    (folder / "tokenizer.json").write_text(made.tokenizer, encoding="utf-8")


@torch.no_grad()
def _difference(made: Pretrained, folder: Path) -> float:
    import transformers

    transformers.utils.logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    theirs: Any = transformers.AutoModelForCausalLM.from_pretrained(
        folder, local_files_only=True, trust_remote_code=False, dtype=torch.float32
    )
    theirs.eval()
    network = made.network.float().cpu().eval()
    length = min(TRIED[1], getattr(theirs.config, "max_position_embeddings", TRIED[1]))
    drawn = torch.Generator().manual_seed(0)
    tokens = torch.randint(0, theirs.config.vocab_size, (TRIED[0], length), generator=drawn)
    expected = network(tokens)
    got = theirs(tokens).logits
    return float((got - expected).abs().max() / expected.abs().max().clamp(min=1e-6))

"""A pretrained decoder of tokens, as it is or with low-rank additions."""

import copy
import inspect
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, cast

import torch
from torch import Tensor, nn

from trainwright.errors import install
from trainwright.nn.pretrained.folder import check_weights, checked, read_architecture


@dataclass(frozen=True)
class Lora:
    """Low-rank additions (Hu et al. 2021, arXiv:2106.09685) to all layers within blocks.

    `rank`: None: none, and all weights learn. They are scaled by `alpha` / `rank`.
    """

    __pydantic_config__: ClassVar[dict[str, str]] = {"extra": "forbid"}

    rank: int | None = None
    alpha: int = 16
    dropout: float = 0.0

    def __post_init__(self) -> None:
        if self.rank is not None and self.rank < 1:
            raise ValueError(f"lora.rank={self.rank} is below 1")
        if not 0 <= self.dropout < 1:
            raise ValueError(f"lora.dropout={self.dropout} is not in 0 <= value < 1")


class Memory:
    """The keys and values of a network of transformers."""

    def __init__(self, held: Any) -> None:
        self.length, self.held = 0, held

    def repeat(self, num: int) -> None:
        """Go on with so many texts that have begun alike, where there was one."""
        self.held.batch_repeat_interleave(num)


class CausalLM(nn.Module):
    """A decoder of transformers, from a folder with config.json and model.safetensors.

    `architecture`: what the checkpoint of a run remembers of config.json; then the folder is not
    looked at. Raises ValueError for a folder that is none, or none for these tokens.
    """

    reads_tokens: ClassVar[bool] = True

    def __init__(
        self,
        *,
        path: str,
        vocab_size: int,
        input_shape: tuple[int, ...],
        lora: Lora = Lora(),
        checkpoint_blocks: bool = False,
        architecture: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__()
        known = read_architecture(path) if architecture is None else checked(architecture)
        self.architecture = known
        is_meta = torch.get_default_device().type == "meta"
        folder = check_weights(path) if architecture is None else None
        self.net = _built(known, None if is_meta or folder is None else str(folder))
        takes = inspect.signature(self.net.forward).parameters
        self._cache = "cache" if "cache" in takes else "past_key_values"  # newer, and older
        if not is_meta:  # where the data may be a stand-in
            _check_tokens(path, self.net.config, vocab_size, input_shape[0] - 1)
        if checkpoint_blocks:
            self.net.gradient_checkpointing_enable({"use_reentrant": False})
        self.lora = lora
        if lora.rank is not None:
            self.net = _with_lora(self.net, lora, lora.rank, inputs_learn=checkpoint_blocks)

    def forward(self, tokens: Tensor, *, cache: Memory | None = None) -> Tensor:
        """Map tokens (B, T) to the logits (B, T, V) of what comes after each.

        `cache`: these tokens come after those that it holds, and it takes them in.
        """
        given = {} if cache is None else {self._cache: cache.held}
        answer = self.net(input_ids=tokens, use_cache=cache is not None, **given)
        logits: Tensor = answer.logits
        return logits

    def memory(self) -> Memory:
        """A `cache` that holds nothing yet."""
        from transformers import DynamicCache

        return Memory(DynamicCache(config=self.net.config))

    def as_pretrained(self) -> tuple[dict[str, Any], dict[str, Tensor]]:
        """Its config and weights as transformers has them; what LoRA adds is merged."""
        net = self.net
        if self.lora.rank is not None:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", FutureWarning)  # between the two libraries
                net = copy.deepcopy(net).merge_and_unload()
        tied = set(getattr(net, "all_tied_weights_keys", None) or ())
        state = {k: v for k, v in net.state_dict().items() if k not in tied}
        tensors = {k: v.detach().float().cpu().clone() for k, v in state.items()}
        return {**self.architecture, "dtype": "float32"}, tensors


def _built(architecture: Mapping[str, Any], folder: str | None) -> Any:
    """The network, with the weights in a folder if one is named."""
    try:
        import transformers
    except ImportError as error:
        raise ValueError(
            f"it needs a package that is not installed ({error})\n  {install('hf')}"
        ) from error
    transformers.utils.logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    transformers.utils.logging.set_verbosity_error()  # type: ignore[no-untyped-call]
    plain, auto = dict(architecture), cast(Any, transformers.AutoModelForCausalLM)
    try:
        config = transformers.AutoConfig.for_model(plain.pop("model_type"), **plain)
        config.dtype = torch.float32
        if folder is None:
            return auto.from_config(config, trust_remote_code=False, attn_implementation="sdpa")
        net, told = auto.from_pretrained(
            folder,
            config=config,
            dtype=torch.float32,
            use_safetensors=True,
            local_files_only=True,
            trust_remote_code=False,
            attn_implementation="sdpa",
            output_loading_info=True,
        )
    except (OSError, KeyError, TypeError, AttributeError, RuntimeError) as error:
        first = next(iter(str(error).splitlines()), type(error).__name__)
        raise ValueError(f"transformers cannot build it: {first[:200]}") from error
    missing = sorted(told["missing_keys"])
    if missing:
        raise ValueError(f"path={folder}: its weights lack {missing[0]}")
    return net


def _check_tokens(path: str, config: Any, vocab_size: int, context: int) -> None:
    if vocab_size > config.vocab_size:
        raise ValueError(
            f"it knows {config.vocab_size:,} tokens, and the data have {vocab_size:,}\n"
            f"  they are to be made by its own tokenizer: data.tokenizer={path}"
        )
    longest = getattr(config, "max_position_embeddings", None)
    if isinstance(longest, int) and context > longest:
        raise ValueError(
            f"it sees {longest:,} tokens, and data.context={context} is more\n"
            f"  choose data.context={longest} or less"
        )


def _with_lora(net: Any, lora: Lora, rank: int, *, inputs_learn: bool) -> Any:
    try:
        import peft
    except ImportError as error:
        raise ValueError(
            f"lora needs a package that is not installed ({error})\n  {install('hf')}"
        ) from error
    if inputs_learn:
        net.enable_input_require_grads()  # or there is nothing to compute again
    config = peft.LoraConfig(
        r=rank,
        lora_alpha=lora.alpha,
        lora_dropout=lora.dropout,
        target_modules="all-linear",
        task_type="CAUSAL_LM",
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # between the two libraries
        warnings.filterwarnings("ignore", message="fan_in_fan_out")  # of GPT-2's, which it mends
        return peft.get_peft_model(net, config)

"""Where and how a run computes: device, precision, memory format, threads."""

import os
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from trainwright.cores import threads_worth_having
from trainwright.engine.device.bf16 import multiplies_bf16
from trainwright.engine.device.memory import keep_freed_memory
from trainwright.engine.optim.no_compiler import leave_compiler_unloaded, set_deterministic
from trainwright.engine.settings import TrainerSettings

_DTYPES = {"bf16": torch.bfloat16, "fp16": torch.float16}

# From where on bf16 pays on a CPU: below, its casts cost more than its products save.
# Numbers in an example: with 8x8 images a GAN's step takes 1.12 times as long as in fp32, a CNN's
# 1.03; with 28x28 it takes 0.75.
WORTH_CASTING = 256
# Without convolutions also weights times examples, each of which is a product: with 3.5 million (an
# MLP 784-64-64-10, batches of 64) a step takes 1.4 times as long, with 7.6 million 1.2, with 12 to
# 15 million as long, with 34 million (784-512-256-10) 0.8.
WORTH_CASTING_PRODUCTS = 10_000_000
# Weights times tokens, of a transformer, whose attention stays in fp32: with 15 million (1 layer of
# 64, 256 tokens) a step takes 1.03 times as long, with 219 million 0.8, with 618 million (4 layers
# of 128, 768 tokens) 0.72.
WORTH_CASTING_TOKENS = 50_000_000

WOULD_CRASH = "channels_last crashes without AVX-512 where a 1x1 convolution is narrow"


@dataclass(frozen=True)
class Placement:
    """The choices that were made, each announced at the start of a run."""

    device: torch.device
    precision: str  # fp32, bf16 or fp16
    memory_format: torch.memory_format
    threads: int
    stacked: bool = False  # steps are made for several runs at once, which rounds otherwise
    static: bool = False  # steps can be captured as CUDA graphs (`engine/fast/static_step.py`)
    why_not_static: str = ""  # on CUDA, where it may interest a person
    why_threads: str = ""  # where it may interest a person
    why_layout: str = ""  # where another was asked for
    ranks: int = 1  # processes that make a step
    why_ranks: str = ""  # where it may interest a person
    compiled: bool = False  # networks are trained as torch.compile has it, which rounds otherwise

    def shared(self) -> "Placement":
        """The same for a run whose steps are made together with those of others."""
        reason = "its steps are made with those of other runs" if self.device.type == "cuda" else ""
        return replace(self, stacked=True, static=False, why_not_static=reason)

    def autocast(self) -> AbstractContextManager[object]:
        """The context in which forward passes run in this precision."""
        if self.precision == "fp32":
            return nullcontext()
        return torch.autocast(self.device.type, dtype=_DTYPES[self.precision])

    def describe(self) -> str:
        """One line, for the start of a run."""
        layout = str(self.memory_format).removeprefix("torch.").removesuffix("_format")
        layout += f" ({self.why_layout})" if self.why_layout else ""
        name = f" ({torch.cuda.get_device_name(self.device)})" if self.device.type == "cuda" else ""
        threads = "1 thread" if self.threads == 1 else f"{self.threads} threads"
        threads += f" ({self.why_threads})" if self.why_threads else ""
        if self.ranks > 1:
            backend = "nccl" if self.device.type == "cuda" else "gloo"
            ranks = ", ".join(filter(None, [backend, self.why_ranks]))
            threads += f" each, {self.ranks} ranks ({ranks})"
        stacked = ", stacked" if self.stacked else ""
        compiled = ", compiled" if self.compiled else ""
        graph = ", CUDA graph" if self.static else ""
        graph = f", no CUDA graph ({self.why_not_static})" if self.why_not_static else graph
        return (
            f"{self.device}{name}, {self.precision}, {layout}, {threads}{stacked}{graph}{compiled}"
        )


def place(
    settings: TrainerSettings,
    *,
    wants_fp32: bool,
    has_convolutions: bool,
    num_values: int,
    num_weights: int,
    num_tokens: int = 0,
    threads_before: int | None = None,
    has_narrow_shortcut: bool = False,
) -> Placement:
    """Choose by hardware what is `auto`, check what is not, and set torch's global switches.

    `threads_before`: of the run that goes on, which keeps them unless its settings say how many.
    `has_narrow_shortcut`: the network has what `is_narrow_shortcut` finds.

    `wants_fp32`: the task's outputs need more than bf16's 8 bits (regression), so that `auto`
    means fp32. So does, on a CPU, a small `num_values` of an example, or a small `num_weights` of a
    dense network, or few of one that computes each of an example's `num_tokens`. Raises ValueError
    for a device or precision that this machine does not have.
    """
    device = _device(settings.device)
    if device.type == "cpu":
        keep_freed_memory()
    usual = torch.get_num_threads()
    threads = settings.threads if isinstance(settings.threads, int) else threads_before
    is_chosen = threads is None
    if threads is None:
        threads = threads_worth_having(usual) if device.type == "cpu" else usual
    if threads != usual:
        torch.set_num_threads(threads)
    why = f"other programs use the rest of {usual} cores" if is_chosen and threads < usual else ""
    leave_compiler_unloaded()
    set_deterministic(settings.deterministic)
    torch.backends.cudnn.deterministic = settings.deterministic
    torch.backends.cudnn.benchmark = not settings.deterministic
    if settings.deterministic:
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")

    precision: str = settings.precision
    if precision == "auto":
        num_products = num_weights * settings.batch_size // settings.accumulate
        if num_tokens:
            is_small = num_products * num_tokens < WORTH_CASTING_TOKENS
        else:
            is_small = num_values < WORTH_CASTING or (
                not has_convolutions and num_products < WORTH_CASTING_PRODUCTS
            )
        stays = wants_fp32 or (is_small and device.type == "cpu")
        precision = "fp32" if stays else _fast_precision(device)
    if precision == "fp16" and device.type == "cpu":
        raise ValueError("precision=fp16 needs a GPU; on a CPU use bf16 or fp32")
    if precision == "fp32" and device.type == "cuda":
        torch.set_float32_matmul_precision("high")

    layout, why_layout = settings.memory_format, ""
    may_crash = device.type == "cpu" and has_narrow_shortcut
    if layout == "auto":
        is_faster = has_convolutions and device.type != "mps"
        layout = "channels_last" if is_faster and not may_crash else "contiguous"
    elif layout == "channels_last" and may_crash and precision == "fp32" and _onednn_takes_avx2():
        layout, why_layout = "contiguous", WOULD_CRASH
    formats = {"contiguous": torch.contiguous_format, "channels_last": torch.channels_last}
    memory_format = formats[layout]
    return Placement(
        device, precision, memory_format, threads, why_threads=why, why_layout=why_layout
    )


def is_narrow_shortcut(module: nn.Module) -> bool:
    """Whether oneDNN may crash in the backward pass of this convolution, channels last on a CPU.

    On processors with AVX2 and no AVX-512 its kernel for weights of 1x1 (in
    jit_avx2_1x1_convolution; oneDNN 3.12, ONEDNN_MAX_CPU_ISA=AVX2 shows it) writes beyond
    its memory where the stride is more than 1 and there are fewer than the 8 input channels of a
    vector. Tried in processes of their own: 1 to 7 channels crash in fp32 at strides 2, 3 and 4,
    8 to 25 never; nor do stride 1, 3x3, several groups, bf16, or the contiguous format.
    """
    return (
        isinstance(module, nn.Conv2d)
        and module.kernel_size == (1, 1)
        and max(module.stride) > 1
        and module.in_channels < 8
    )


def in_format(weight: Tensor, memory_format: torch.memory_format) -> Tensor:
    """A convolution's weight (out, in, kH, kW) in a memory format, which its maps then take over.

    With one input channel there is nothing to move, and `contiguous` returns the weight as it is.
    But kernels read the wish from the strides: without it a small CNN on grey images computes
    channels first, where max pooling on a CPU takes fourteen times as long.
    """
    if memory_format == torch.channels_last and weight.shape[1] == 1:
        _, _, height, width = weight.shape
        return weight.contiguous().as_strided(weight.shape, (height * width, 1, width, 1))
    return weight.contiguous(memory_format=memory_format)


def _device(name: str) -> torch.device:
    if name == "auto":
        if torch.cuda.is_available():
            return torch.device("cuda", torch.cuda.current_device())
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError:
        raise ValueError(f"device={name} is unknown; use auto, cpu, cuda, cuda:1 or mps") from None
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        found = torch.cuda.device_count()
        raise ValueError(f"device={name}, but torch finds {found} CUDA devices here; use cpu")
    if device.type == "mps" and not torch.backends.mps.is_available():
        raise ValueError("device=mps, but torch finds no Metal GPU here; use cpu")
    if device.type not in {"cpu", "cuda", "mps"}:
        raise ValueError(f"device={name} is not supported; use auto, cpu, cuda or mps")
    return device


def _fast_precision(device: torch.device) -> str:
    """bf16 where the hardware multiplies it, fp16 on older GPUs, else fp32."""
    if multiplies_bf16(device.type):
        return "bf16"
    return "fp16" if device.type == "cuda" else "fp32"


def _onednn_takes_avx2() -> bool:
    """Whether its kernels are those for AVX2: it has no others, or is told to take them."""
    told = os.environ.get("ONEDNN_MAX_CPU_ISA", "").upper()
    has_avx512 = torch.cpu._is_avx512_supported()
    return bool(torch.cpu._is_avx2_supported() and (not has_avx512 or told.startswith("AVX2")))

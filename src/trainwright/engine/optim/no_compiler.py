"""Keep torch.compile's machinery out of a run that compiles nothing: a second and 60 MB.

torch imports `torch._dynamo` when an optimizer is made, when it steps and when it forgets its
gradients, only to tell a compiler that is not there to leave these functions alone.
"""

import inspect

import torch
from torch.optim import Optimizer


def leave_compiler_unloaded() -> None:
    """Mark the optimizers' bookkeeping as dealt with, so that calling it imports nothing.

    `torch._disable_dynamo` looks for this mark before it imports anything. Where a version of
    torch does it otherwise, the mark means nothing and all is as before.
    """
    for name in ("add_param_group", "zero_grad", "state_dict", "load_state_dict"):
        plain = inspect.unwrap(getattr(Optimizer, name))
        plain.__dynamo_disable = plain


def step_by_torch(optimizer: Optimizer) -> None:
    """`optimizer.step()` with gradients off; of torch's own optimizers without their decorators.

    Those are for compilers, for the profiler, for hooks on steps and for differentiable steps.
    """
    is_torchs = type(optimizer).__module__.startswith("torch.optim.")
    if is_torchs and not optimizer.defaults.get("differentiable"):
        with torch.no_grad():
            inspect.unwrap(type(optimizer).step)(optimizer)
    else:
        optimizer.step()


def set_deterministic(wanted: bool) -> None:
    """`torch.use_deterministic_algorithms`, which imports a compiler's settings, if need be."""
    if wanted != torch.are_deterministic_algorithms_enabled():
        torch.use_deterministic_algorithms(wanted)

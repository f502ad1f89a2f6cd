"""Differential privacy: gradients of single examples, clipped, summed, and hidden in noise.

DP-SGD of Abadi et al. 2016, arXiv:1607.00133. What that costs Opacus accounts for, by Rényi
differential privacy (Mironov 2017, arXiv:1702.07476). All is a function of the seed and the step:
a step that is made again after a kill releases what it did before, and costs nothing more.
"""

import warnings
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call, grad, vmap

from trainwright.data.examples import Batch
from trainwright.engine.clock import Clock
from trainwright.engine.settings import PrivacySettings
from trainwright.errors import ConfigError, require_extra
from trainwright.seeds import generator_for
from trainwright.tasks.task import Carry, Task, kind_of

SMALLEST_NORM = 1e-12
FEWEST = 16  # examples that a step has on average: none at all then happens once in e^16 steps
_SHARES_EXAMPLES = nn.modules.batchnorm._BatchNorm


@dataclass(frozen=True)
class Privacy:
    """How the steps of a run are made private, and what so many of them have spent."""

    epsilon: float  # after all steps of the run, at most
    delta: float
    clip: float  # the largest norm of an example's gradient
    noise: float  # deviation of the noise on their sum, in clips
    rate: float  # the probability of each training example to be in a step
    batch_size: int  # so many on average
    seed: int

    @classmethod
    def of(cls, settings: PrivacySettings, clock: Clock, task: Task, seed: int) -> "Privacy":
        """That of a run, with as little noise as its epsilon allows.

        Raises ConfigError for a task or a length that cannot be private.
        """
        assert settings.epsilon is not None
        _check(settings, clock, task)
        rate = clock.batch_size / clock.num_examples
        accountants = _opacus()
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                noise = accountants.utils.get_noise_multiplier(
                    target_epsilon=settings.epsilon,
                    target_delta=settings.delta,
                    sample_rate=rate,
                    steps=clock.total_steps,
                    accountant="rdp",
                    epsilon_tolerance=0.01 * min(1.0, settings.epsilon),
                )
        except ValueError as error:
            raise ConfigError(
                f"trainer.privacy.epsilon={settings.epsilon}: no noise is enough for it ({error})\n"
                "  train fewer steps, with smaller batches, or allow more"
            ) from error
        batch_size = clock.batch_size
        return cls(settings.epsilon, settings.delta, settings.clip, noise, rate, batch_size, seed)

    def spent(self, steps: int) -> float:
        """The epsilon of so many steps, at `delta`."""
        if not steps:
            return 0.0
        accountant = _opacus().RDPAccountant()
        accountant.history = [(self.noise, self.rate, steps)]
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return float(accountant.get_epsilon(delta=self.delta))

    def summary(self, steps: int) -> dict[str, float]:
        """What summary.json says of it."""
        told = {"epsilon": self.spent(steps), "delta": self.delta, "clip": self.clip}
        return {**told, "noise_multiplier": self.noise, "sample_rate": self.rate}

    def __str__(self) -> str:
        return (
            f"epsilon {self.epsilon:g} at delta {self.delta:g}: gradients of single examples "
            f"clipped at {self.clip:g}, noise {self.noise:.4g} clips, {self.batch_size:,} examples "
            "a step on average"
        )

    def gradients(
        self,
        task: Task,
        player: str,
        parameters: Sequence[Tensor],
        parts: Sequence[tuple[Batch, Carry]],
        *,
        step: int,
        autocast: Callable[[], AbstractContextManager[Any]],
    ) -> tuple[list[Tensor], dict[str, Tensor]]:
        """The sum of clipped gradients and noise, over the examples expected; what was seen.

        The batch is what was drawn: each training example with probability `rate`.
        """
        total = [torch.zeros_like(parameter) for parameter in parameters]
        seen: dict[str, list[Tensor]] = {}
        for batch, carry in parts:
            if not len(next(iter(batch.values()))):
                continue
            each, told = per_example(task, player, parameters, batch, carry, autocast)
            norms = torch.stack([g.flatten(1).norm(dim=1) for g in each]).norm(dim=0)  # (B,)
            factors = (self.clip / norms.clamp(min=SMALLEST_NORM)).clamp(max=1)
            for sums, gradient in zip(total, each, strict=True):
                sums.add_(torch.tensordot(factors, gradient, dims=1))
            for name, values in told.items():
                seen.setdefault(name, []).append(values.flatten().float())
        generator = generator_for(self.seed, "noise", step, player, device=total[0].device)
        for sums in total:
            drawn = torch.empty_like(sums).normal_(generator=generator)
            sums.add_(drawn, alpha=self.noise * self.clip).div_(self.batch_size)
        nothing = {"loss": total[0].new_zeros(())}
        return total, {name: torch.cat(values).mean() for name, values in seen.items()} or nothing


def per_example(
    task: Task,
    player: str,
    parameters: Sequence[Tensor],
    batch: Batch,
    carry: Carry,
    autocast: Callable[[], AbstractContextManager[Any]],
) -> tuple[list[Tensor], Mapping[str, Tensor]]:
    """The gradient of each example's loss, (B, ...) for each parameter, and what was seen (B, ...).

    Each is computed as a batch of one.
    """
    names = {id(parameter): name for name, parameter in task.named_parameters()}
    held = {names[id(parameter)]: parameter.detach() for parameter in parameters}

    def loss_of(held: dict[str, Tensor], example: Batch) -> tuple[Tensor, Mapping[str, Tensor]]:
        one = {name: column.unsqueeze(0) for name, column in example.items()}
        with autocast():
            found: tuple[Tensor, Mapping[str, Tensor]] = functional_call(
                task, held, (player, one, dict(carry))
            )
        return found

    of_all = vmap(grad(loss_of, has_aux=True), in_dims=(None, 0), randomness="different")
    gradients, seen = of_all(held, batch)
    return list(gradients.values()), seen


def _check(settings: PrivacySettings, clock: Clock, task: Task) -> None:
    """Raise ConfigError for what cannot be private, or would only be called so."""
    if len(task.players) > 1:
        raise ConfigError(
            f"trainer.privacy: a {kind_of(task)} has {len(task.players)} players, and the loss of "
            "one depends on the other\n  only tasks of one network can be private"
        )
    if task.mixes_examples:
        raise ConfigError(
            f"{task.mixes_examples} does not go with trainer.privacy: it mixes examples\n"
            "  leave one of them out"
        )
    found = next((n for n, m in task.named_modules() if isinstance(m, _SHARES_EXAMPLES)), None)
    if found is not None:
        raise ConfigError(
            f"trainer.privacy: {found} is batch normalisation, which mixes examples\n"
            "  use model.norm=layer or null, or a network of your own with nn.GroupNorm"
        )
    if clock.batch_size < FEWEST:
        raise ConfigError(
            f"trainer.batch_size={clock.batch_size}: private steps draw so many on average, and "
            f"may draw none\n  make it at least {FEWEST}; large batches suit privacy"
        )
    if settings.delta * clock.num_examples >= 1:
        raise ConfigError(
            f"trainer.privacy.delta={settings.delta:g}: with {clock.num_examples:,} training "
            "examples it lets one of them be published\n"
            f"  it must be well below {1 / clock.num_examples:.1g}"
        )


def _opacus() -> Any:
    """Opacus's accountants; it takes seconds to import."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        require_extra("trainer.privacy", "opacus.accountants.utils", extra="dp")
    import opacus.accountants

    return opacus.accountants

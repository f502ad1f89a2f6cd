"""How good a variational autoencoder is on a split: its bound, in parts."""

import math
from collections.abc import Mapping

from torch import Tensor

from trainwright.tasks.generated.metrics import GenerativeMetrics, Judged

ACTIVE = 0.01  # variance of a unit's mean from which on it says something (Burda et al. 2016)


class VAEMetrics(GenerativeMetrics):
    """The bound and its parts, in nats an image; bits a pixel, where pixels have a probability."""

    def __init__(
        self,
        judged: Judged,
        *,
        num_pixels: int,
        level: float | None,
        beta: float,
        free_bits: float,
    ) -> None:
        """`level`: the nats that a pixel's cost lacks to be its level's; None: it is not one's."""
        super().__init__(judged)
        self._num_pixels, self._level = num_pixels, level
        self._beta, self._free_bits = beta, free_bits

    def of(self, values: dict[str, Tensor]) -> dict[str, float]:
        """Of these examples."""
        cost, code = values["reconstruction"].double(), values["kl"].double()
        bound = float(cost.mean() + code.sum(dim=1).mean())
        spread = values["mean"].double().var(dim=0, correction=0)
        numbers = {
            "loss": float(cost.mean() + self._beta * paid(code, self._free_bits)),
            "reconstruction": float(cost.mean()),
            "kl": float(code.sum(dim=1).mean()),
            "elbo": -bound,
            "active_units": float((spread > ACTIVE).sum()),
        }
        if self._level is not None:
            numbers["bits_per_dim"] = (bound / self._num_pixels + self._level) / math.log(2)
        return numbers

    def signs(self, scores: Mapping[str, float]) -> dict[str, float]:
        """Those of a generator, and how many units of the code say something."""
        units = {"active_units": scores["active_units"], "kl": scores["kl"]}
        return {**super().signs(scores), **units, "units": float(self.values["mean"].shape[1])}


def paid(code: Tensor, free_bits: float) -> Tensor:
    """What codes (B, Z) cost on average: every unit at least what is free."""
    mean = code.mean(dim=0)
    return (mean.clamp(min=free_bits) if free_bits else mean).sum()

"""Loss scaling for fp16: small gradients are lifted out of underflow, overflows halve the scale."""

from dataclasses import dataclass
from typing import Any


@dataclass
class LossScale:
    """A power of two that grows while steps go well (Micikevicius et al. 2018, arXiv:1710.03740).

    `is_dynamic` is False for fp32 and bf16: the scale is 1, and an overflow is an error.
    """

    is_dynamic: bool
    value: float = 1.0
    growth_every: int = 2000
    num_good: int = 0

    @classmethod
    def for_precision(cls, precision: str) -> "LossScale":
        """2^16 to begin with for fp16, and a constant 1 otherwise."""
        return cls(True, 2.0**16) if precision == "fp16" else cls(False)

    def overflowed(self) -> None:
        """Halve the scale: the step was skipped."""
        self.value, self.num_good = max(self.value / 2, 1.0), 0

    def succeeded(self) -> None:
        """Count a good step, and double the scale after enough of them."""
        if not self.is_dynamic:
            return
        self.num_good += 1
        if self.num_good >= self.growth_every:
            self.value, self.num_good = self.value * 2, 0

    def state_dict(self) -> dict[str, Any]:
        """The scale and the number of good steps since it last changed."""
        return {"value": self.value, "num_good": self.num_good}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore what `state_dict` gave."""
        self.value, self.num_good = float(state["value"]), int(state["num_good"])

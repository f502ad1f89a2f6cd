"""What a run has been through: batches left out, and ways back. It is saved with the rest."""

from dataclasses import asdict, dataclass
from typing import Any


@dataclass
class Recovery:
    """Counts of what went wrong and was mended, and what is left of the learning rate."""

    num_skipped: int = 0  # batches left out, with trainer.on_nonfinite=skip
    skipped_in_a_row: int = 0
    num_rollbacks: int = 0  # ways back to an earlier checkpoint
    rolled_back_to: int | None = None  # the step of the last of these
    lr_scale: float = 1.0  # on every learning rate; each rollback lowers it

    def state_dict(self) -> dict[str, Any]:
        """The counts and the scale, as plain JSON types."""
        return asdict(self)

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore what `state_dict` gave."""
        self.num_skipped = int(state["num_skipped"])
        self.skipped_in_a_row = int(state["skipped_in_a_row"])
        self.num_rollbacks = int(state["num_rollbacks"])
        to = state["rolled_back_to"]
        self.rolled_back_to = None if to is None else int(to)
        self.lr_scale = float(state["lr_scale"])

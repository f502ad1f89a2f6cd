"""Why a run says what it says of examples, as arrays."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from trainwright.inference.trained import Trained


@dataclass(frozen=True)
class Explanation:
    """Why one example is said to be `explained`, a class, a label or a value.

    `values`, by method: what each pixel (H, W), token (T,) or feature (F,) adds to the score, which
    is the log-odds of a class or label, or the value; `score_of_nothing` is without all of them.
    `parts` names the tokens or features; `verdicts` say whether a method is to be believed.
    """

    explained: str
    values: Mapping[str, NDArray[Any]]
    parts: tuple[str, ...]
    score: float
    score_of_nothing: float
    verdicts: Mapping[str, str]


def explanations_of(trained: "Trained", given: Any, output: str | None) -> list[Explanation]:
    """Each example of what a program gives (inference/given.py). Raises DataError, ConfigError."""
    import torch

    from trainwright.inference.explain.explain import Explainer, is_table, others_of, sanity
    from trainwright.inference.given import examples_of, raise_unusable
    from trainwright.inference.other_data import load_data

    examples = list(examples_of(trained, given))
    raise_unusable(examples)
    explainer = Explainer(trained, others_of(load_data(trained, [])) if is_table(trained) else None)
    found = []
    for example in examples:
        columns = {name: torch.from_numpy(np.array(c)) for name, c in example.columns.items()}
        one = explainer.explain(columns, output)
        values = {n: f.values.view(one.subject.shape).numpy() for n, f in one.found.items()}
        parts = tuple(one.subject.names() or one.subject.parts())
        verdicts = {name: sane.verdict() for name, sane in sanity([one]).items()}
        found.append(Explanation(one.asked.name, values, parts, one.score, one.base, verdicts))
    return found

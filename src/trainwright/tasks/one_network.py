"""What tasks have in common that are one network for one target."""

from abc import abstractmethod
from collections.abc import Callable, Mapping
from typing import Any, ClassVar

from torch import Tensor, nn

from trainwright.data.columns import Tokens
from trainwright.data.dataset import DataInfo
from trainwright.data.examples import Batch
from trainwright.tasks.metrics.metric import Answers
from trainwright.tasks.ports import Port, Predictor
from trainwright.tasks.task import Task

# Which task learns what kind of target.
TASKS = {
    "classes": "use task=classifier",
    "values": "use task=regression",
    "labels": "use task=multilabel",
    "none": "use model=gan, flow or vae",
}


class OneNetwork(Task):
    """Learns one target by one network, which is given one input, or several by name."""

    learns: ClassVar[str]  # the kind of target

    def __init__(self, model: nn.Module, info: DataInfo) -> None:
        super().__init__()
        named = f"task={type(self).__name__.lower()}"
        other = getattr(model, "only_for", None)
        if other is not None:  # before its data are looked at: no other data would mend it
            raise ValueError(
                f"{named} cannot train {type(model).__name__}: use task={other}, or leave task out"
            )
        if info.target != self.learns:
            hint = TASKS.get(info.target, "a task of your own learns these")
            if isinstance(info.input, Tokens) and not info.targets:
                hint = "use task=language, with model=gpt"
            raise ValueError(
                f"{named} needs {self.learns} to learn, and {info.name} has {info.target}; {hint}"
            )
        self.model = model
        self.inputs = info.inputs
        (self.target,) = info.targets
        self.columns = {name: info.columns[name] for name in (*info.inputs, *info.targets)}
        self._num_outputs = info.num_outputs

    @property
    def players(self) -> Mapping[str, nn.Module]:
        """The one network."""
        return {"model": self.model}

    @property
    def checked_network(self) -> tuple[nn.Module, int, tuple[str, ...]]:
        """It answers with a number a class, or a number a value."""
        return self.model, self._num_outputs, self.inputs

    def answer(self, batch: Batch) -> Tensor:
        """What the network says of a batch, (B, outputs) float32.

        It is given its one input; of several each by its name.
        """
        if len(self.inputs) == 1:
            outputs: Tensor = self.model(batch[self.inputs[0]])
        else:
            outputs = self.model(**{name: batch[name] for name in self.inputs})
        return outputs.float()

    def features(self, batch: Batch) -> Tensor:
        """What the last dense layer of the network is given, (B, F) float32.

        Raises ValueError for a network without one.
        """
        given: list[Tensor] = []
        dense = [module for module in self.model.modules() if isinstance(module, nn.Linear)]
        hooks = [m.register_forward_pre_hook(lambda _, got: given.append(got[0])) for m in dense]
        try:
            self.answer(batch)
        finally:
            for hook in hooks:
                hook.remove()
        if not given:
            raise ValueError("the network has no dense layer whose inputs are features")
        return given[-1].flatten(1).float()

    @abstractmethod
    def outputs(self, batch: Batch) -> Tensor:
        """What `portable` puts out, of a batch as the network sees it: (B, outputs), or (B,)."""

    @abstractmethod
    def answers(self, outputs: Tensor, batch: Batch) -> Answers:
        """What is measured of outputs, wherever they were computed, and the batch's targets."""

    def evaluate(self, batch: Batch) -> Answers:
        """What is measured of the network's own outputs."""
        return self.answers(self.outputs(batch), batch)

    def predictor(
        self,
        output: Port,
        *,
        does: str,
        answer: Callable[[Batch], Tensor],
        facts: Mapping[str, Any] | None = None,
    ) -> Predictor:
        """The network for other programs, with raw inputs."""
        inputs = {name: self.columns[name] for name in self.inputs}
        return Predictor(self.model, inputs, output, does=does, answer=answer, facts=facts or {})

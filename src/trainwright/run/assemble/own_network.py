"""What a network of the user's own must be, found out before anything is written."""

import torch
from torch import Tensor
from torch.nn.parameter import is_lazy

from trainwright.data.batches import Batches
from trainwright.engine.device.device import Placement
from trainwright.engine.device.memory import is_out_of_memory
from trainwright.errors import ConfigError, TrainwrightError, own_code_failed
from trainwright.tasks.task import Task


def check_learnable(task: Task) -> None:
    """Raise ConfigError for a player with nothing to learn, or that does not know its sizes yet."""
    for name, player in task.players.items():
        lazy = [key for key, parameter in player.named_parameters() if is_lazy(parameter)]
        if lazy:
            raise ConfigError(
                f"model: {lazy[0]} of {name_of(player)} has no size until it has seen a batch\n"
                "  give the layer its sizes: the constructor's parameter input_shape tells them"
            )
        if not any(parameter.requires_grad for parameter in player.parameters()):
            raise ConfigError(
                f"model: player {name} ({name_of(player)}) has no parameter that learns\n"
                "  layers in a plain list are not seen: make it an nn.ModuleList"
            )


def check_outputs(task: Task, batches: Batches, placement: Placement) -> None:
    """Try a network on two examples, where the task says what it must answer.

    Raises ConfigError where it fails, or answers with something else than (2, num_outputs).
    """
    if task.checked_network is None:
        return
    (batch,) = batches.in_order(2, limit=2)
    network, num_outputs, inputs = task.checked_network
    given = [batch[name] for name in inputs]
    was_training = network.training
    network.eval()
    try:
        with torch.no_grad(), placement.autocast():
            named = dict(zip(inputs, given, strict=True))
            outputs = network(*given) if len(given) == 1 else network(**named)
    except Exception as error:
        if isinstance(error, TrainwrightError) or is_out_of_memory(error):
            raise
        shapes = " and ".join(str(tuple(each.shape[1:])) for each in given)
        what = f"model: {name_of(network)} fails with {len(given[0])} examples of shape {shapes}"
        raise own_code_failed(what, error) from error
    network.train(was_training)
    expected = (len(given[0]), num_outputs)
    found = tuple(outputs.shape) if isinstance(outputs, Tensor) else f"a {type(outputs).__name__}"
    if found != expected:
        raise ConfigError(
            f"model: {name_of(network)} answers {len(given[0])} examples with {found}\n"
            f"  it must be a tensor of shape {expected}: num_outputs is {num_outputs}"
        )


def name_of(thing: object) -> str:
    """The class of a user's, as a config names it."""
    return f"{type(thing).__module__}.{type(thing).__qualname__}"

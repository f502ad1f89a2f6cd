"""Layers are matched by name and shape, whole or not at all; numbers count what holds something."""

import torch
from torch import nn

from trainwright.run.fork.matching import in_short, layers_of, match


def matched(network: nn.Module, other: nn.Module):
    return match(layers_of(network.state_dict()), layers_of(other.state_dict()))


def test_dropout_between_two_layers_moves_none():
    found = matched(
        nn.Sequential(nn.Dropout(), nn.Linear(4, 3), nn.ReLU(), nn.Dropout(), nn.Linear(3, 2)),
        nn.Sequential(nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 2)),
    )
    assert found.taken == {"1": "0", "4": "2"}
    assert found.anew == found.left == []


def test_a_layer_fits_whole_or_not_at_all():
    """The bias of another input's layer has the right shape, and does not fit its weight."""
    found = matched(
        nn.Sequential(nn.Linear(5, 3), nn.Linear(3, 2)),
        nn.Sequential(nn.Linear(4, 3), nn.Linear(3, 2)),
    )
    assert found.taken == {"1": "1"}
    assert found.anew == found.left == ["0"]


def test_what_is_only_in_one_of_them_is_said():
    found = matched(
        nn.Sequential(nn.Linear(4, 3), nn.BatchNorm1d(3), nn.Linear(3, 2)),
        nn.Sequential(nn.Linear(4, 3), nn.Linear(3, 2), nn.Linear(2, 2)),
    )
    assert found.taken == {"0": "0"}
    assert found.anew == ["1", "2"]
    assert found.left == ["1", "2"]


def test_a_spectrally_normalised_weight_and_its_bias_are_one_layer():
    layer = nn.utils.parametrizations.spectral_norm(nn.Linear(4, 3))
    assert list(layers_of(nn.Sequential(layer).state_dict())) == ["0"]
    assert matched(nn.Sequential(layer), nn.Sequential(nn.Linear(4, 3))).taken == {}


def test_another_type_of_number_does_not_fit():
    assert matched(nn.Linear(2, 2), nn.Linear(2, 2, dtype=torch.float64)).taken == {}


def test_layers_are_named_by_the_shortest_prefixes_that_mean_no_others():
    names = ["body.0", "body.1.a", "body.1.b", "head.0", "head.1"]
    assert in_short(["body.0", "body.1.a", "body.1.b"], names) == "body"
    assert in_short(["body.1.a", "body.1.b", "head.1"], names) == "body.1, head.1"
    assert in_short(names, names) == "body, head"
    assert in_short([], names) == ""

import pytest
import torch
from torch import nn

from trainwright.engine.optim.muon import Muon, orthogonalised

pytestmark = pytest.mark.numeric


@pytest.fixture
def exact(doubles, monkeypatch):
    """In float64, also what Muon computes in bf16, ours and torch's: a copy, as bf16 would be."""
    monkeypatch.setattr(torch.Tensor, "bfloat16", lambda tensor: tensor.double().clone())


def trained(make, parameter, num_steps=6):
    """A copy of a parameter after steps along gradients that are drawn, and follow where it is."""
    weight = nn.Parameter(parameter.clone())
    optimizer = make([weight])
    generator = torch.Generator().manual_seed(5)
    for _ in range(num_steps):
        drawn = torch.randn(weight.shape, generator=generator)
        weight.grad = drawn + weight.detach()
        optimizer.step()
    return weight.detach()


@pytest.mark.usefixtures("exact")
@pytest.mark.parametrize("shape", [(8, 20), (20, 8), (12, 12)])
@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"lr": 0.1, "momentum": 0.6, "weight_decay": 0.3, "ns_steps": 3},
        {"nesterov": False, "weight_decay": 0.0},
    ],
)
def test_matrices_move_as_torchs_muon_moves_them(shape, settings):
    settings = {"lr": 0.02, "weight_decay": 0.01, **settings}
    begin = torch.randn(shape, generator=torch.Generator().manual_seed(1))
    ours = trained(lambda p: Muon(p, **settings), begin)
    theirs = trained(lambda p: torch.optim.Muon(p, **settings), begin)
    assert (ours - begin).abs().min() > 0
    torch.testing.assert_close(ours, theirs)


@pytest.mark.usefixtures("exact")
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_the_filters_of_a_convolution_move_as_the_rows_of_a_matrix(layout):
    begin = torch.randn(6, 4, 3, 3, generator=torch.Generator().manual_seed(1))

    def flat(parameters):
        return torch.optim.Muon(parameters, lr=0.02, weight_decay=0.01)

    ours = trained(lambda p: Muon(p), begin.contiguous(memory_format=layout), 1)
    generator = torch.Generator().manual_seed(5)
    gradient = torch.randn(begin.shape, generator=generator) + begin
    matrix = nn.Parameter(begin.flatten(1))
    matrix.grad = gradient.flatten(1)
    flat([matrix]).step()
    torch.testing.assert_close(ours.flatten(1), matrix.detach())
    assert ours.is_contiguous(memory_format=layout)


@pytest.mark.parametrize("shape", [(30, 50), (50, 30)])
def test_orthogonalising_keeps_the_directions_and_makes_the_sizes_alike(shape):
    matrix = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    u, sizes, v = torch.linalg.svd(matrix, full_matrices=False)
    assert sizes.max() / sizes.min() > 5
    result = orthogonalised(matrix, num_steps=5).float()
    assert torch.linalg.svdvals(result).min() > 0.65
    assert torch.linalg.svdvals(result).max() < 1.25
    inside = u.T @ result @ v.T  # diagonal where the directions are kept
    assert (inside - inside.diagonal().diag()).abs().max() < 0.05


@pytest.mark.usefixtures("exact")
def test_a_fixed_norm_is_set_before_each_move():
    """A gradient of 0 moves nothing: what is left is the norm, the square root of the rows."""
    weight = nn.Parameter(torch.tensor([[3.0, 0.0], [0.0, 4.0]]))
    weight.grad = torch.zeros(2, 2)
    Muon([weight], lr=0.5, weight_decay=0, fixed_norm=True).step()
    torch.testing.assert_close(weight.detach(), torch.tensor([[0.6, 0.0], [0.0, 0.8]]) * 2**0.5)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"lr": -1}, "lr=-1"),
        ({"momentum": 1.0}, "momentum"),
        ({"weight_decay": -0.1}, "weight_decay"),
        ({"ns_steps": 0}, "ns_steps"),
        ({"fixed_norm": True}, "set weight_decay=0"),
    ],
)
def test_a_wrong_setting_is_refused_with_what_is_right(settings, message):
    with pytest.raises(ValueError, match=message):
        Muon([nn.Parameter(torch.zeros(2, 2))], **settings)


def test_a_vector_is_refused():
    with pytest.raises(ValueError, match="at least 2 dimensions, not 1"):
        Muon([nn.Parameter(torch.zeros(3))])

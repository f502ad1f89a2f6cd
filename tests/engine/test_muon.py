import pytest
import torch
from torch import nn

from trainwright.engine.optim import muon
from trainwright.engine.optim.muon import Muon, orthogonalised

pytestmark = pytest.mark.numeric


@pytest.fixture
def exact(doubles, monkeypatch):
    """In float64, also what Muon computes in bf16, ours and torch's: a copy, as bf16 would be."""
    monkeypatch.setattr(muon, "multiplies_bf16", lambda device_type: True)
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
@pytest.mark.parametrize("polynomials", ["fixed", "optimal"])
def test_matrices_that_are_moved_at_once_move_as_each_by_itself(polynomials, monkeypatch):
    drawn = torch.Generator().manual_seed(1)
    shapes = [(8, 20), (20, 8), (8, 20), (12, 12), (8, 20)]
    begin = [torch.randn(shape, generator=drawn) for shape in shapes]
    settings = {"lr": 0.1, "ns_steps": 3, "polynomials": polynomials}

    def moved(weights):
        optimizer = Muon(weights, **settings)
        for weight, value in zip(weights, begin, strict=True):
            weight.grad = value.square()
        optimizer.step()

    together = [nn.Parameter(value.clone()) for value in begin]
    by_itself = [nn.Parameter(value.clone()) for value in begin]
    monkeypatch.setattr(muon, "MOST_AT_ONCE", 2 * 160)  # three of 8 x 20 are two, and one
    moved(together)
    monkeypatch.setattr(muon, "MOST_AT_ONCE", 1)
    moved(by_itself)
    torch.testing.assert_close(together, by_itself)


@pytest.mark.usefixtures("exact")
@pytest.mark.parametrize(("num_steps", "error"), [(2, 0.75), (3, 0.3), (4, 0.02), (6, 1e-5)])
def test_optimal_polynomials_bring_singular_values_the_nearer_to_one_the_more_there_are(
    num_steps, error
):
    generator = torch.Generator().manual_seed(0)
    sizes = torch.tensor([1.0, 0.6, 0.3, 0.1, 0.05, 0.02, 0.015])
    u, v = (torch.linalg.qr(torch.randn(7, 7, generator=generator))[0] for _ in range(2))
    found = orthogonalised(((u * sizes) @ v)[None], num_steps=num_steps, polynomials="optimal")[0]
    assert (torch.linalg.svdvals(found) - 1).abs().max() < error
    torch.testing.assert_close(u.T @ found @ v.T, (u.T @ found @ v.T).diagonal().diag())


def test_an_optimal_polynomial_errs_as_much_at_both_ends_as_between():
    """Of all quintic ones the best does, by Chebyshev's theorem."""
    ((a, b, c),) = muon.optimal(1)
    x = torch.linspace(muon.LEAST / muon.SAFETY, muon.SAFETY, 100_001, dtype=torch.float64)
    errors = a * x + b * x**3 + c * x**5 - 1
    ends = torch.stack([errors[0], errors.max(), errors[1000:].min(), errors[-1]])
    torch.testing.assert_close(ends.abs(), ends[0].abs().expand(4), atol=1e-4, rtol=0)
    assert ends.sign().tolist() == [-1, 1, -1, 1]


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


@pytest.mark.parametrize(("has_bf16", "dtype"), [(True, torch.bfloat16), (False, torch.float32)])
def test_products_are_in_bf16_only_where_the_hardware_has_it(has_bf16, dtype, monkeypatch):
    monkeypatch.setattr(muon, "multiplies_bf16", lambda device_type: has_bf16)
    assert orthogonalised(torch.ones(1, 2, 3), num_steps=1).dtype == dtype


@pytest.mark.parametrize(("polynomials", "num_steps"), [("fixed", 5), ("optimal", 3)])
@pytest.mark.parametrize("shape", [(30, 50), (50, 30)])
def test_orthogonalising_keeps_the_directions_and_makes_the_sizes_alike(
    shape, polynomials, num_steps
):
    matrix = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    u, sizes, v = torch.linalg.svd(matrix, full_matrices=False)
    assert sizes.max() / sizes.min() > 5
    wide = matrix.T if shape[0] > shape[1] else matrix
    result = orthogonalised(wide[None], num_steps=num_steps, polynomials=polynomials)[0].float()
    result = result.T if shape[0] > shape[1] else result
    assert torch.linalg.svdvals(result).min() > 0.65
    assert torch.linalg.svdvals(result).max() < 1.3
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
        ({"polynomials": "cubic"}, "fixed, optimal"),
        ({"fixed_norm": True}, "set weight_decay=0"),
    ],
)
def test_a_wrong_setting_is_refused_with_what_is_right(settings, message):
    with pytest.raises(ValueError, match=message):
        Muon([nn.Parameter(torch.zeros(2, 2))], **settings)


def test_a_vector_is_refused():
    with pytest.raises(ValueError, match="at least 2 dimensions, not 1"):
        Muon([nn.Parameter(torch.zeros(3))])

"""Convolutions of images in blocks against torch's own, and where they are used."""

import copy

import pytest
import torch
from rounding import rounding
from torch import nn
from torch.func import functional_call, vmap

from trainwright.engine.fast.image_convolutions import quicken_image_convolutions

pytestmark = pytest.mark.numeric


def quick(module):
    """A copy that trains in blocks where it can."""
    module = copy.deepcopy(module)
    quicken_image_convolutions(nn.Sequential(module))
    return module


def learned(module, inputs, slopes):
    """The outputs, their gradients, and second derivatives as R1 wants them."""
    inputs = inputs.detach().clone().requires_grad_()
    outputs = module(inputs)
    wanted = [inputs, *module.parameters()]
    first = torch.autograd.grad(
        (outputs * slopes).sum() + outputs.pow(3).sum(), wanted, create_graph=True
    )
    second = torch.autograd.grad(sum(g.square().sum() for g in first), wanted)
    return [outputs, *first, *second]


IN_BLOCKS = {
    "grey to maps": (lambda: nn.Conv2d(1, 8, 4, 2, 1), (1, 28, 28)),
    "colour to maps": (lambda: nn.Conv2d(3, 8, 3, padding=1, bias=False), (3, 12, 8)),
    "a stem with a large kernel": (lambda: nn.Conv2d(3, 8, 7, 2, 3), (3, 32, 32)),
    "an odd kernel with a stride": (lambda: nn.Conv2d(1, 8, 3, 2, 1), (1, 12, 16)),
    "sides that differ": (lambda: nn.Conv2d(1, 8, (3, 5), (1, 2), (1, 2)), (1, 12, 16)),
    "maps to grey": (lambda: nn.Conv2d(8, 1, 3, padding=1), (8, 28, 28)),
    "maps to colour": (lambda: nn.Conv2d(8, 3, 5, padding=2, bias=False), (8, 6, 10)),
    "maps to colour without padding": (lambda: nn.Conv2d(8, 3, 3), (8, 10, 12)),
    "transposed, as in DCGAN": (lambda: nn.ConvTranspose2d(8, 3, 4, 2, 1, bias=False), (8, 7, 7)),
    "transposed to grey": (lambda: nn.ConvTranspose2d(8, 1, 4, 2, 1), (8, 14, 14)),
    "transposed, an odd kernel": (
        lambda: nn.ConvTranspose2d(8, 3, 3, 2, 1, output_padding=1),
        (8, 5, 6),
    ),
}
AS_EVER = {
    "an odd number of pixels": (lambda: nn.Conv2d(1, 8, 3, padding=1), (1, 7, 7)),
    "a stride of 3": (lambda: nn.Conv2d(1, 8, 3, 3), (1, 12, 12)),
    "more padding than kernel": (lambda: nn.Conv2d(1, 8, 1, padding=1), (1, 8, 8)),
    "groups": (lambda: nn.Conv2d(2, 8, 3, padding=1, groups=2), (2, 8, 8)),
    "dilation": (lambda: nn.Conv2d(1, 8, 3, padding=2, dilation=2), (1, 8, 8)),
    "mirrored edges": (lambda: nn.Conv2d(1, 8, 3, padding=1, padding_mode="reflect"), (1, 8, 8)),
    "padding by name": (lambda: nn.Conv2d(1, 8, 3, padding="same"), (1, 8, 8)),
    "strides to images": (lambda: nn.Conv2d(8, 1, 4, 2, 1), (8, 8, 8)),
    "maps to maps": (lambda: nn.Conv2d(8, 8, 3, padding=1), (8, 8, 8)),
}


@pytest.mark.parametrize("case", [*IN_BLOCKS, *AS_EVER])
def test_outputs_and_first_and_second_derivatives_are_those_of_torch(case):
    make, shape = (IN_BLOCKS | AS_EVER)[case]
    plain = make().double()
    ours = quick(plain)
    inputs = torch.randn(3, *shape, dtype=torch.float64)
    slopes = torch.randn(plain(inputs).shape, dtype=torch.float64)
    found = learned(ours, inputs, slopes)
    for mine, reference in zip(found, learned(plain, inputs, slopes), strict=True):
        longest = 8 * 28 * 28  # of the sums: over all places, for a slope of a kernel
        bound = rounding(torch.float64, longest, size=reference.norm())
        assert (mine - reference).norm() <= bound
    in_blocks = any(name in found[0].grad_fn.name() for name in ("ToMaps", "ToImages"))
    assert in_blocks == (case in IN_BLOCKS)


@pytest.mark.parametrize("case", IN_BLOCKS)
def test_under_autocast_they_are_as_exact_as_torch(case):
    make, shape = IN_BLOCKS[case]
    plain = make()
    ours, exact = quick(plain), copy.deepcopy(plain).double()
    inputs = torch.randn(16, *shape)
    slopes = torch.randn(plain(inputs).shape)

    def rounded(module):
        given = inputs.clone().requires_grad_()
        with torch.autocast("cpu", dtype=torch.bfloat16):
            outputs = module(given)
        wanted = [given, *module.parameters()]
        return [outputs, *torch.autograd.grad((outputs * slopes).sum(), wanted)]

    references = [exact(inputs.double())]
    given = inputs.double().requires_grad_()
    references += torch.autograd.grad(
        (exact(given) * slopes.double()).sum(), [given, *exact.parameters()]
    )
    for mine, theirs, reference in zip(rounded(ours), rounded(plain), references, strict=True):
        assert mine.dtype == theirs.dtype
        assert (mine - reference).norm() < 1.05 * (theirs - reference).norm() + 1e-3


@pytest.mark.parametrize("case", ["grey to maps", "maps to colour", "transposed to grey"])
def test_vmap_makes_the_steps_of_several_at_once(case):
    make, shape = IN_BLOCKS[case]
    members = [quick(make().double()) for _ in range(2)]
    inputs = torch.randn(2, 3, *shape, dtype=torch.float64, requires_grad=True)
    names = [name for name, _ in members[0].named_parameters()]
    stacked = {
        name: torch.stack([dict(m.named_parameters())[name] for m in members]).detach()
        for name in names
    }
    for tensor in stacked.values():
        tensor.requires_grad_()
    outputs = vmap(lambda held, x: functional_call(members[0], held, (x,)))(stacked, inputs)
    gradients = torch.autograd.grad(outputs.pow(3).sum(), [*stacked.values(), inputs])
    for number, member in enumerate(members):
        given = inputs[number].detach().requires_grad_()
        alone = member(given)
        torch.testing.assert_close(outputs[number], alone)
        wanted = torch.autograd.grad(alone.pow(3).sum(), [*member.parameters(), given])
        for mine, reference in zip(gradients, wanted, strict=True):
            torch.testing.assert_close(mine[number], reference)


def test_a_module_keeps_its_names_hooks_and_parameters_and_is_as_ever_where_it_does_not_train():
    plain = nn.Conv2d(1, 8, 4, 2, 1)
    seen = []
    plain.register_forward_hook(lambda *_: seen.append("hook"))
    weight = plain.weight
    ours = copy.deepcopy(plain)
    quicken_image_convolutions(nn.Sequential(plain))
    assert plain.weight is weight
    assert isinstance(plain, nn.Conv2d)
    assert list(plain.state_dict()) == ["weight", "bias"]
    images = torch.randn(2, 1, 8, 8)
    assert "ToMaps" not in plain(images).grad_fn.name()
    assert seen.pop() == "hook"
    images.requires_grad_()
    assert "ToMaps" in plain(images).grad_fn.name()
    assert seen == ["hook"]
    assert "ToMaps" in copy.deepcopy(plain)(images).grad_fn.name()
    plain.eval()
    assert "ToMaps" not in plain(images).grad_fn.name()
    assert torch.equal(plain(images), ours(images))


# Torch's compiler uses what torch itself no longer recommends.
@pytest.mark.filterwarnings("ignore:.*torch.jit:DeprecationWarning")
def test_a_gan_on_a_cpu_trains_so_unless_maps_are_channels_first_or_networks_compiled(assembled):
    def of_images(*overrides):
        task = assembled("model=gan", "task.score=none", *overrides).state.task
        convolutions = [m for m in task.model.modules() if isinstance(m, nn.Conv2d)]
        return [type(m) is not nn.Conv2d for m in convolutions]

    usual = of_images()
    assert sum(usual) == 2  # the generator's last layer, and the discriminator's first
    assert not any(of_images("trainer.memory_format=contiguous"))
    assert not any(of_images("trainer.compile=true"))

"""Integrated gradients, occlusion and Grad-CAM against captum, their axioms, and by hand."""

import captum.attr
import pytest
import torch
from torch import nn

from trainwright.data.columns import Classes, Tokens
from trainwright.data.dataset import DataInfo
from trainwright.inference.explain import attribution
from trainwright.inference.explain.asked import Asked
from trainwright.inference.explain.further import captums
from trainwright.inference.explain.subjects import Picture, Words
from trainwright.nn.gpt.text_encoder import TextEncoder
from trainwright.tasks.classifier import Classifier

pytestmark = [pytest.mark.numeric, pytest.mark.usefixtures("doubles")]
SIZE = (3, 14, 14)
EXACT = 1e-9  # float64, in sums of a few thousand numbers of about 1


@pytest.fixture
def asked():
    """A classifier of 14x14 images that is smooth, and what it says of class 1."""
    torch.manual_seed(0)
    network = nn.Sequential(
        nn.Conv2d(3, 5, 3, padding=1), nn.Tanh(), nn.Flatten(), nn.Linear(5 * 14 * 14, 4)
    )
    info = DataInfo.of_one_input("drawn", SIZE, "classes", tuple("abcd"), (0.5,) * 3, (0.2,) * 3)
    task = Classifier(model=network, info=info).eval()
    return Asked(task, task.columns["targets"], 1)


@pytest.fixture
def picture():
    torch.manual_seed(1)
    return Picture(
        "inputs", torch.randn(1, *SIZE), torch.full((1, 3, 1, 1), 0.1), torch.zeros(SIZE)
    )


def score_of(asked):
    return lambda x: asked.score({"inputs": x})


def test_a_score_is_the_log_odds_of_the_class(asked, picture):
    score = asked.score({"inputs": picture.pixels})
    probability = asked.task.predict({"inputs": picture.pixels})["targets"][:, 1]
    torch.testing.assert_close(asked.told(score), probability)


def test_integrated_gradients_are_captums_and_complete(asked, picture):
    x, base = picture.pixels, picture.base.expand(1, *SIZE)
    theirs = captum.attr.IntegratedGradients(score_of(asked))
    wanted = theirs.attribute(x, base, n_steps=64, method="gausslegendre")
    found = attribution.integrated_gradients(score_of(asked), x, base, steps=64)
    torch.testing.assert_close(found, wanted[0], rtol=0, atol=EXACT)
    difference = (score_of(asked)(x) - score_of(asked)(base)).item()
    # Gauss and Legendre's 64 nodes are exact for polynomials of degree 127; tanh is nearly one.
    assert found.sum().item() == pytest.approx(difference, abs=1e-6)
    assert attribution.of_pixels(picture, asked).sum().item() == pytest.approx(difference, abs=1e-6)


def test_occlusion_is_captums(asked, picture):
    theirs = captum.attr.Occlusion(score_of(asked))
    base = picture.base.expand(1, *SIZE)
    wanted = theirs.attribute(picture.pixels, (3, 2, 2), strides=(3, 1, 1), baselines=base)
    windows = attribution.windows((14, 14))
    assert (len(windows), windows.sum(1).unique().tolist()) == (13 * 13, [4])
    found = attribution.taken_away(picture, asked, windows)
    torch.testing.assert_close(found.view(14, 14), wanted[0, 0], rtol=0, atol=EXACT)


def test_windows_reach_every_pixel_of_any_size():
    for size in ((5, 9), (28, 28), (33, 50)):
        assert attribution.windows(size).any(0).all()


def test_grad_cam_is_captums(asked, picture):
    layer = asked.task.model[0]
    theirs = captum.attr.LayerGradCam(score_of(asked), layer)
    wanted = theirs.attribute(picture.pixels, relu_attributions=True)[0, 0]
    found = attribution.grad_cam(score_of(asked), layer, picture.pixels)
    torch.testing.assert_close(found, wanted, rtol=0, atol=EXACT)
    assert attribution.last_convolution(asked.task) is layer


def test_grad_cam_by_hand():
    layer = nn.Conv2d(1, 2, 1, bias=False)
    layer.weight.data = torch.tensor([1.0, -2.0]).view(2, 1, 1, 1)
    # The score is 3 times the first map's sum less the second's: slopes 3 and -1 everywhere, so
    # what is seen of x is 3 * x + 2 * x, where that is above 0.
    x = torch.tensor([[[[1.0, -1.0], [0.0, 0.5]]]])
    found = attribution.grad_cam(
        lambda x: (layer(x) * torch.tensor([3.0, -1.0]).view(1, 2, 1, 1)).sum((1, 2, 3)), layer, x
    )
    torch.testing.assert_close(found, torch.tensor([[5.0, 0.0], [0.0, 2.5]]))


def test_of_a_text_the_tokens_add_up_and_one_that_is_gone_is_not_read():
    torch.manual_seed(0)
    text = Tokens(length=8, tokenizer="bytes")
    info = DataInfo("t", {"text": text, "k": Classes(("a", "b"))}, ("text",), ("k",))
    network = TextEncoder(
        vocab_size=256, input_shape=(8,), num_outputs=2, columns=info.columns, depth=1, width=8,
        heads=2, dropout=0.0,
    )  # fmt: skip
    for parameter in network.parameters():
        nn.init.normal_(parameter, std=0.3)
    task = Classifier(model=network, info=info).eval()
    asked = Asked(task, info.columns["k"], 0)
    tokens = torch.tensor([[72, 105, 32, 121, 111, -1, -1, -1]])
    words = Words("text", tokens, text)
    assert words.parts() == ["H", "i", " ", "y", "o"]
    embedded = network.embedding.weight[tokens[0, :5]]
    mean = embedded.mean(0, keepdim=True).expand(5, -1)

    def of_vectors(vectors):  # the network by its own parts, from its embedding on
        x = torch.zeros(1, 8, 8)
        x[0, :5] = vectors
        network.embedding.weight.data = torch.cat([x[0], torch.zeros(248, 8)])
        return asked.score({"text": torch.tensor([[0, 1, 2, 3, 4, -1, -1, -1]])}).item()

    found = attribution.of_tokens(words, asked)
    before = network.embedding.weight.data.clone()
    difference = of_vectors(embedded.detach()) - of_vectors(mean.detach())
    network.embedding.weight.data = before
    # relu² bends within the path: 64 nodes see that to about 64 ** -2 of one of its many pieces.
    assert found.sum().item() == pytest.approx(difference, abs=1e-4)
    gone = words.without(torch.tensor([[True, True, True, True, False]]))["text"]
    assert gone.tolist() == [[72, 105, 32, 121, -1, -1, -1, -1]]
    left = asked.score({"text": tokens}) - asked.score({"text": gone})
    fall = attribution.taken_away(words, asked, torch.eye(5, dtype=torch.bool))[4]
    torch.testing.assert_close(fall, left[0].detach())


@pytest.mark.parametrize("name", ["deep_lift", "gradient_shap", "guided_backprop"])
def test_captums_methods_are_asked_for_the_score_and_draw_the_same_every_time(asked, picture, name):
    method = captums(name, seed=3)
    found = method(picture, asked)
    assert found.shape == (14 * 14,)
    assert torch.equal(found, method(picture, asked))
    score = score_of(asked)
    difference = (score(picture.pixels) - score(picture.base.expand(1, *SIZE))).item()
    if name == "deep_lift":  # complete, but for the logarithm at the score's end: no layer
        assert found.sum().item() == pytest.approx(difference, rel=0.02)
    elif name == "guided_backprop":  # without a ReLU it is the gradient
        x = picture.pixels.clone().requires_grad_()
        (slope,) = torch.autograd.grad(score(x).sum(), x)
        torch.testing.assert_close(found, slope[0].sum(0).flatten())
    else:
        assert not torch.equal(found, captums(name, seed=4)(picture, asked))

"""Masked language modelling: which tokens are asked for, and what they cost."""

import pytest
import torch

from trainwright.data.columns import PADDING, Tokens
from trainwright.data.dataset import DataInfo
from trainwright.nn.gpt.text_encoder import TextEncoder
from trainwright.tasks.masked_language import MaskedLanguage

COLUMN = Tokens(length=20, tokenizer="bytes")
INFO = DataInfo("bytes", {"text": COLUMN}, ("text",))
WINDOWS = torch.randint(0, 256, (50, 20), generator=torch.Generator().manual_seed(0))


def masked(share=0.15, **settings):
    torch.manual_seed(0)
    model = TextEncoder(
        vocab_size=256,
        input_shape=(20,),
        num_outputs=1,
        columns=INFO.columns,
        depth=1,
        width=16,
        heads=2,
        dropout=0.0,
    )
    return MaskedLanguage(model=model, info=INFO, share=share, **settings)


@pytest.fixture
def seen(monkeypatch):
    """What the network is given: tokens, and which are hidden."""
    given, features = [], TextEncoder.features
    monkeypatch.setattr(
        TextEncoder, "features", lambda self, *args: given.append(args) or features(self, *args)
    )
    return given


def test_of_the_tokens_asked_for_most_are_hidden_few_others_and_few_as_they_are(seen):
    answers = masked(0.5).evaluate({"text": WINDOWS})
    assert answers["tokens"].tolist() == [10] * 50
    ((shown, hidden),) = seen
    assert 0.7 < int(hidden.sum()) / 500 < 0.9
    other = (shown != WINDOWS) & ~hidden
    assert 0.04 < int(other.sum()) / 500 < 0.17


def test_padding_is_never_asked_for_nor_changed(seen):
    windows = WINDOWS.clone()
    windows[:, 3:] = PADDING
    answers = masked(0.5).evaluate({"text": windows})
    assert answers["tokens"].tolist() == [3] * 50
    ((shown, _),) = seen
    assert (shown[:, 3:] == PADDING).all()


@pytest.mark.numeric
@pytest.mark.usefixtures("doubles")
def test_the_loss_is_the_mean_over_those_asked_for():
    task = masked()
    torch.manual_seed(1)
    loss, _ = task("model", {"text": WINDOWS}, {})
    torch.manual_seed(1)
    metric = task.metrics()
    metric.update({}, task.evaluate({"text": WINDOWS}))
    assert metric.compute()["loss"] == pytest.approx(float(loss.detach()))
    assert "bits_per_byte" not in metric.compute()


@pytest.mark.parametrize("share", [0.0, 1.0])
def test_a_share_that_cannot_be_is_refused(share):
    with pytest.raises(ValueError, match="share="):
        masked(share)


def test_another_network_is_refused():
    with pytest.raises(ValueError, match="needs model=text_encoder"):
        MaskedLanguage(model=torch.nn.Linear(2, 2), info=INFO)


def test_it_shows_a_prompt_with_what_is_hidden_and_what_it_takes_that_for():
    task = masked(0.2, prompts=["to be or not"])
    with torch.no_grad():
        task.model.bias[ord("x")] = 1e6  # whatever is hidden, it says x
    shown, said = task.showcase().text.splitlines()
    assert shown.count("_") == 2  # a fifth of 12
    assert said == shown.replace("_", "x")
    assert shown.replace("_", "") == "".join(
        letter for letter, sign in zip("to be or not", shown, strict=True) if sign != "_"
    )
    assert task.showcase().text == f"{shown}\n{said}"
    assert masked().showcase() is None


def test_a_prompt_without_a_token_is_refused():
    with pytest.raises(ValueError, match="nothing to hide"):
        masked(prompts=[""])

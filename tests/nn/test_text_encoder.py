import pytest
import torch

from trainwright.data.columns import Classes, Tokens
from trainwright.nn.gpt.text_encoder import TextEncoder

pytestmark = [pytest.mark.numeric, pytest.mark.usefixtures("doubles")]

TEXT = {"text": Tokens(length=7, tokenizer="bytes")}
BOTH = {**TEXT, "targets": Classes(("a", "b", "c"))}
TOKENS = torch.tensor([[5, 6, 7, 8, 9, 10, 11], [1, 2, 3, -1, -1, -1, -1]])


def encoder(columns=BOTH, **settings):
    torch.manual_seed(0)
    shape = {"depth": 2, "width": 16, "heads": 2, "dropout": 0.0, **settings}
    model = TextEncoder(vocab_size=256, input_shape=(7,), num_outputs=3, columns=columns, **shape)
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    return model.eval()


def test_a_text_is_answered_alike_however_much_is_left_of_its_window():
    model = encoder()
    torch.testing.assert_close(model(TOKENS)[1:], model(TOKENS[1:, :3]))
    assert model(TOKENS).shape == (2, 3)
    assert model(torch.full((1, 7), -1)).isfinite().all()


def test_each_token_sees_those_after_it_and_not_a_hidden_one():
    model = encoder(TEXT)
    changed = TOKENS.clone()
    changed[0, 4] = 200
    features = model.features(TOKENS)
    assert (model.features(changed)[0, 0] - features[0, 0]).abs().max() > 1e-6
    hidden = torch.zeros_like(TOKENS, dtype=torch.bool)
    hidden[0, 4] = True
    torch.testing.assert_close(model.features(changed, hidden), model.features(TOKENS, hidden))


def test_with_classes_every_parameter_learns():
    model = encoder()
    grads = torch.autograd.grad(model(TOKENS).square().sum(), list(model.parameters()))
    assert all(grad.abs().sum() > 0 for grad in grads)


def test_data_without_a_text_are_refused():
    with pytest.raises(ValueError, match="a text_encoder needs one text"):
        TextEncoder(vocab_size=0, input_shape=(7,), num_outputs=3, columns=BOTH)

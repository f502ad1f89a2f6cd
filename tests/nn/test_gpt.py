"""The decoder, against attention written out, and against networks of another library."""

import math

import pytest
import torch

from trainwright.nn.gpt.attention import rotary_angles
from trainwright.nn.gpt.gpt import GPT
from trainwright.nn.gpt.pointwise import EPSILON, normed, squared_relu, turned

pytestmark = [pytest.mark.numeric, pytest.mark.usefixtures("doubles")]

VOCABULARY, WINDOW = 11, 10
TOKENS = torch.randint(0, VOCABULARY, (2, 9), generator=torch.Generator().manual_seed(1))


def gpt(**settings):
    """A small one, every weight of which matters."""
    torch.manual_seed(0)
    shape = {"depth": 2, "width": 16, "heads": 4, **settings}
    model = GPT(vocab_size=VOCABULARY, input_shape=(WINDOW,), **shape)
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    return model.eval()


def attended_by_hand(layer, x):
    """Attention with its sums written out, place by place."""
    batch, length, _ = x.shape
    size, group = layer.size, layer.heads // layer.kv_heads
    out = torch.zeros(batch, length, layer.heads * size)

    def head(linear, number, row, place):
        vector = x[row, place] @ linear.weight[number * size : (number + 1) * size].T
        if linear is not layer.values and layer.qk_norm:
            vector = vector / (vector.square().mean() + EPSILON).sqrt()
        return vector

    def turned(vector, place):
        half = size // 2
        turned = vector.clone()
        for i in range(half):
            angle = place * 10000.0 ** (-2 * i / size)
            a, b = vector[i], vector[i + half]
            turned[i] = a * math.cos(angle) - b * math.sin(angle)
            turned[i + half] = b * math.cos(angle) + a * math.sin(angle)
        return turned

    for row in range(batch):
        for number in range(layer.heads):
            for place in range(length):
                query = turned(head(layer.queries, number, row, place), place)
                scores = torch.stack(
                    [
                        query @ turned(head(layer.keys, number // group, row, other), other)
                        for other in range(place + 1)
                    ]
                )
                shares = (scores / math.sqrt(size)).softmax(dim=0)
                values = torch.stack(
                    [head(layer.values, number // group, row, o) for o in range(place + 1)]
                )
                out[row, place, number * size : (number + 1) * size] = shares @ values
    return out @ layer.out.weight.T


@pytest.mark.parametrize("settings", [{}, {"qk_norm": False}, {"kv_heads": 2}])
def test_attention_is_that_written_out(settings):
    layer = gpt(**settings).blocks[0].attention
    x = torch.randn(2, 5, 16, generator=torch.Generator().manual_seed(2))
    found = layer(x, rotary_angles(5, 4, 10000.0))
    torch.testing.assert_close(found, attended_by_hand(layer, x))


@pytest.mark.parametrize("form", ["squared relu", "norm", "turn", "norm and turn"])
def test_what_is_written_by_hand_is_torchs_formula_with_its_gradients(form):
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(3, 4, 6, generator=generator).requires_grad_()
    gain = torch.rand(6, generator=generator).requires_grad_()
    heads, angles = x.detach()[None].requires_grad_(), rotary_angles(3, 6, 100.0)  # (1, 3, 4, 6)

    def by_hand(x):
        rotation = torch.complex(*angles)[:, None]  # (T, 1, D / 2)
        spun = torch.complex(*x.chunk(2, dim=-1)) * rotation
        return torch.cat([spun.real, spun.imag], dim=-1)

    ours, theirs, given = {
        "squared relu": (squared_relu, lambda x: torch.relu(x) ** 2, (x,)),
        "norm": (normed, lambda x, g: torch.rms_norm(x, (6,), g, EPSILON), (x, gain)),
        "turn": (lambda x: turned(x, angles, normalise=False), lambda x: by_hand(x), (heads,)),
        "norm and turn": (
            lambda x: turned(x, angles, normalise=True),
            lambda x: by_hand(torch.rms_norm(x, (6,), eps=EPSILON)),
            (heads,),
        ),
    }[form]
    torch.testing.assert_close(ours(*given), theirs(*given))
    slope = torch.randn(given[0].shape, generator=generator)
    torch.testing.assert_close(
        torch.autograd.grad(ours(*given), given, slope),
        torch.autograd.grad(theirs(*given), given, slope),
    )


def test_turned_vectors_know_only_how_far_apart_they_are():
    angles = rotary_angles(9, 8, 100.0)
    q, k = torch.randn(2, 1, 1, 1, 8, generator=torch.Generator().manual_seed(0))

    def at(x, place):
        return turned(x, angles[:, place : place + 1], normalise=False)

    scores = [(at(q, i) * at(k, i + 3)).sum() for i in range(5)]
    torch.testing.assert_close(torch.stack(scores), scores[0].expand(5))


def copied(ours, theirs):
    """The weights of ours in a Llama or Qwen3 of transformers."""
    state = {
        "model.embed_tokens.weight": ours.embedding.weight,
        "model.norm.weight": ours.norm.weight,
    }
    for number, block in enumerate(ours.blocks):
        layer, attention = f"model.layers.{number}.", block.attention
        state |= {
            f"{layer}input_layernorm.weight": block.norm.weight,
            f"{layer}post_attention_layernorm.weight": block.feed_norm.weight,
            f"{layer}self_attn.q_proj.weight": attention.queries.weight,
            f"{layer}self_attn.k_proj.weight": attention.keys.weight,
            f"{layer}self_attn.v_proj.weight": attention.values.weight,
            f"{layer}self_attn.o_proj.weight": attention.out.weight,
            f"{layer}mlp.gate_proj.weight": block.feed.gate.weight,
            f"{layer}mlp.up_proj.weight": block.feed.up.weight,
            f"{layer}mlp.down_proj.weight": block.feed.down.weight,
        }
    state["lm_head.weight"] = (ours.embedding if ours.tied else ours.output).weight
    missing, unexpected = theirs.load_state_dict(state, strict=False)
    assert not unexpected
    assert all("q_norm" in name or "k_norm" in name for name in missing)  # gains of one
    return theirs.eval()


@pytest.mark.slow  # to import transformers
@pytest.mark.parametrize("kind", ["Llama", "Qwen3"])
def test_its_logits_are_those_of_transformers_with_the_same_weights(kind):
    transformers = pytest.importorskip("transformers")
    ours = gpt(
        activation="swiglu", kv_heads=2, hidden=24, qk_norm=kind == "Qwen3", tied=kind == "Llama"
    )
    config = getattr(transformers, f"{kind}Config")(
        vocab_size=VOCABULARY,
        hidden_size=16,
        intermediate_size=24,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        head_dim=4,
        rms_norm_eps=EPSILON,
        rope_theta=10000.0,
        tie_word_embeddings=ours.tied,
        max_position_embeddings=64,
    )
    theirs = copied(ours, getattr(transformers, f"{kind}ForCausalLM")(config).double())
    with torch.no_grad():
        # Theirs computes norms and angles in float32, whatever its weights are.
        torch.testing.assert_close(ours(TOKENS), theirs(TOKENS).logits, rtol=1e-5, atol=1e-5)


def test_no_token_is_seen_before_it_comes():
    model, changed = gpt(), TOKENS.clone()
    changed[:, 6] = (changed[:, 6] + 1) % VOCABULARY
    before, after = model(TOKENS), model(changed)
    torch.testing.assert_close(after[:, :6], before[:, :6])
    assert (after[:, 6:] - before[:, 6:]).abs().amax(dim=-1).min() > 1e-6


def test_documents_in_one_window_do_not_see_each_other():
    model = gpt()
    documents = (torch.arange(9) >= 4).long().expand(2, 9)
    together = model(TOKENS, documents=documents)
    torch.testing.assert_close(together[:, :4], model(TOKENS[:, :4]))
    # Positions are relative: the second document is as it would be by itself.
    torch.testing.assert_close(together[:, 4:], model(TOKENS[:, 4:]))


def test_the_gradient_of_one_document_does_not_depend_on_its_neighbour():
    model = gpt()
    documents = (torch.arange(9) >= 4).long().expand(2, 9)
    gradients = []
    for shift in (0, 3):
        tokens = TOKENS.clone()
        tokens[:, 4:] = (tokens[:, 4:] + shift) % VOCABULARY
        loss = model(tokens, documents=documents)[:, :4].square().sum()
        gradients.append(torch.autograd.grad(loss, model.blocks[0].feed.up.weight)[0])
    torch.testing.assert_close(*gradients)


class Layer:
    """The keys and values of one layer."""

    def __init__(self):
        self.held = None

    def extended(self, keys, values):
        if self.held is not None:
            keys = torch.cat([self.held[0], keys], dim=2)
            values = torch.cat([self.held[1], values], dim=2)
        self.held = keys, values
        return keys, values


class Memory:
    """What a decoder has seen."""

    def __init__(self, depth):
        self.length, self.layers = 0, [Layer() for _ in range(depth)]


@pytest.mark.parametrize("cuts", [(1, 2, 3, 4, 5, 6, 7, 8, 9), (4, 5, 9), (3, 9)])
def test_a_text_in_pieces_with_a_memory_is_the_text_as_a_whole(cuts):
    model = gpt(kv_heads=2)
    memory, parts, start = Memory(2), [], 0
    for stop in cuts:
        parts.append(model(TOKENS[:, start:stop], cache=memory))
        memory.length, start = stop, stop
    torch.testing.assert_close(torch.cat(parts, dim=1), model(TOKENS))


def test_blocks_computed_again_on_the_way_back_have_the_same_gradients():
    found = []
    for again in (False, True):
        model = gpt(checkpoint_blocks=again).train()
        loss = model(TOKENS).square().mean()
        found.append(torch.autograd.grad(loss, list(model.parameters())))
    torch.testing.assert_close(*found)


@pytest.mark.parametrize("tied", [False, True])
def test_before_training_every_next_token_is_about_as_likely(tied):
    torch.manual_seed(0)
    model = GPT(vocab_size=VOCABULARY, input_shape=(WINDOW,), depth=2, tied=tied)
    assert model(TOKENS).softmax(dim=-1).sub(1 / VOCABULARY).abs().max() < 0.1


@pytest.mark.parametrize(
    ("settings", "shape"),
    [
        ({"depth": 3}, (192, 3, 3, 768)),
        ({"depth": 2, "width": 96, "heads": 4, "kv_heads": 2}, (96, 4, 2, 384)),
        ({"depth": 12, "activation": "swiglu"}, (768, 12, 12, 2048)),
    ],
)
def test_depth_sets_what_is_not_set(settings, shape):
    with torch.device("meta"):
        model = GPT(vocab_size=VOCABULARY, input_shape=(WINDOW,), **settings)
    assert (model.width, model.heads, model.kv_heads, model.hidden) == shape
    assert len(model.blocks) == settings["depth"]
    assert set(model.learning_rates().values()) == {math.sqrt(256 / shape[0])}


@pytest.mark.parametrize(
    ("settings", "why"),
    [
        ({"depth": 0}, "depth=0"),
        ({"width": 30, "heads": 4}, "heads=4: each needs an even share of width=30"),
        ({"heads": 4, "kv_heads": 3}, "kv_heads=3 does not divide heads=4"),
        ({"dropout": 1.0}, "dropout=1.0"),
        ({"vocab_size": 0}, "needs a text"),
    ],
)
def test_what_cannot_be_is_refused(settings, why):
    with pytest.raises(ValueError, match=why):
        GPT(**{"vocab_size": VOCABULARY, "input_shape": (WINDOW,), "width": 16, **settings})

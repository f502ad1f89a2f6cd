"""Networks for tables: their formulas written out, and the columns that they take."""

import json
import math

import pytest
import torch
from safetensors.torch import load_file
from torch.nn import functional

from trainwright.data.columns import Categories, Image, Numbers, Tokens
from trainwright.data.splits import split_arrays
from trainwright.inference.trained import load_trained
from trainwright.nn.mlp import MLP
from trainwright.nn.tables.ft_transformer import FTTransformer
from trainwright.nn.tables.resnet_mlp import ResNetMLP
from trainwright.tasks.classifier import Classifier

pytestmark = [pytest.mark.numeric, pytest.mark.usefixtures("doubles")]

INPUTS = {
    "numbers": Numbers(mean=(0.0, 0.0), std=(1.0, 1.0)).described(),
    "kinds": Categories(names=("colour",), options=(("red", "green", "blue"),)).described(),
}
ROWS = {
    "numbers": torch.tensor([[0.5, -1.0], [2.0, 0.1], [0.0, 0.3]], dtype=torch.float64),
    "kinds": torch.tensor([[0], [2], [2]]),
}
NETWORKS = [
    lambda **more: MLP(input_shape=(2,), num_outputs=3, widths=(8,), embedding=4, **more),
    lambda **more: ResNetMLP(num_outputs=3, width=8, embedding=4, **more),
    lambda **more: FTTransformer(num_outputs=3, width=8, heads=2, blocks=2, **more),
]


@pytest.mark.parametrize("make", NETWORKS)
@pytest.mark.parametrize("numbers", ["plain", "piecewise", "periodic"])
def test_every_parameter_has_a_part_in_the_answer_to_several_columns(make, numbers):
    torch.manual_seed(0)
    model = make(inputs=INPUTS, numbers=numbers, train_inputs=lambda num, name: ROWS[name])
    outputs = model(**ROWS)
    assert outputs.shape == (3, 3)
    (outputs * torch.randn(3, 3)).sum().backward()
    # A category that no row has, and what ReLU cuts off, may stay without: not a whole tensor.
    assert [name for name, p in model.named_parameters() if not p.grad.abs().sum() > 0] == []


@pytest.mark.parametrize("make", NETWORKS)
def test_the_same_network_takes_one_column_by_its_place(make):
    assert make(inputs={"kinds": INPUTS["kinds"]})(ROWS["kinds"]).shape == (3, 3)
    assert make(inputs={"numbers": INPUTS["numbers"]})(ROWS["numbers"]).shape == (3, 3)


def test_an_mlp_sees_plain_numbers_beside_embedded_categories():
    model = NETWORKS[0](inputs=INPUTS)
    embed = model.embed.columns[1]
    vector = torch.cat([ROWS["numbers"], embed(ROWS["kinds"]).flatten(1)], dim=1)  # (3, 2 + 4)
    torch.testing.assert_close(model(**ROWS), model.layers(vector))


def test_a_plain_mlp_has_the_tensors_that_it_always_had():
    model = MLP(input_shape=(2,), num_outputs=3, widths=(8,), inputs={"x": INPUTS["numbers"]})
    assert list(model.state_dict()) == ["layers.1.weight", "layers.1.bias", "layers.3.weight",
                                        "layers.3.bias"]  # fmt: skip


def normalised(vectors, norm):
    """Layer or batch normalisation over the dimension that it normalises, by its own formula."""
    dim = -1 if isinstance(norm, torch.nn.LayerNorm) else 0
    mean = vectors.mean(dim, keepdim=True)
    variance = (vectors - mean).square().mean(dim, keepdim=True)
    return (vectors - mean) / (variance + norm.eps).sqrt() * norm.weight + norm.bias


def dense(vectors, layer):
    return vectors @ layer.weight.T + layer.bias


def randomise(model):
    """So that no gain of 1 and no bias of 0 hides that it is left out."""
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(torch.randn_like(parameter) / 2)


def test_a_residual_network_is_the_formula_of_the_paper():
    model = ResNetMLP(
        inputs={"x": INPUTS["numbers"]}, num_outputs=2, width=6, hidden=1.5, dropout=0
    )
    randomise(model)
    x = dense(ROWS["numbers"], model.first)
    for norm, widen, _, narrow in model.blocks:
        x = x + dense(dense(normalised(x, norm), widen).clamp(min=0), narrow)
    assert model.blocks[0][1].weight.shape == (9, 6)
    norm, _, last = model.head
    expected = dense(normalised(x, norm).clamp(min=0), last)
    torch.testing.assert_close(model(ROWS["numbers"]), expected)


def test_an_ft_transformer_is_the_formula_of_the_paper():
    model = FTTransformer(inputs=INPUTS, num_outputs=2, width=6, heads=2, blocks=2).eval()
    randomise(model)
    numbers, kinds = model.embed.columns
    for row in range(3):
        x = torch.stack([
            model.answer,
            *(ROWS["numbers"][row, f] * numbers.weight[f] + numbers.bias[f] for f in range(2)),
            kinds.weight[ROWS["kinds"][row, 0]] + kinds.bias[0],
        ])  # (4 tokens, 6)  # fmt: skip
        for place, block in enumerate(model.blocks):
            seen = x if place == 0 else normalised(x, block.norm1)
            query, key, value = dense(seen, block.query_key_value).split(6, dim=1)
            heads = []
            for head in (slice(0, 3), slice(3, 6)):
                scores = query[:, head] @ key[:, head].T / math.sqrt(3)
                shares = scores.exp() / scores.exp().sum(1, keepdim=True)
                heads.append(shares @ value[:, head])
            x = x + dense(torch.cat(heads, dim=1), block.mix)
            gate, values = dense(normalised(x, block.norm2), block.widen).split(8, dim=1)
            x = x + dense(gate.clamp(min=0) * values, block.narrow)
        norm, _, last = model.head
        expected = dense(normalised(x[0], norm).clamp(min=0), last)
        torch.testing.assert_close(model(**{k: v[row : row + 1] for k, v in ROWS.items()})[0],
                                   expected)  # fmt: skip


def test_attention_is_dropped_while_it_learns_alone():
    model = FTTransformer(inputs=INPUTS, num_outputs=2, width=8, heads=2, attention_dropout=0.5)
    model.eval()
    torch.testing.assert_close(model(**ROWS), model(**ROWS))
    for block in model.blocks:
        block.dropout.p = 0
    model.train()
    assert not torch.equal(model(**ROWS), model(**ROWS))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"numbers": "spline"}, "plain, piecewise, periodic"),
        ({"resolution": 0}, "resolution=0 is below 1"),
        ({"numbers": "periodic", "sigma": 0.0}, "sigma=0.0 is not above 0"),
        ({"inputs": {"words": Tokens(3, ("a", "b")).described()}}, "words is tokens"),
        ({"inputs": {"kinds": INPUTS["kinds"]}, "numbers": "periodic"}, "there are none"),
    ],
)
@pytest.mark.parametrize("make", NETWORKS)
def test_a_wrong_setting_is_refused_in_words(make, settings, message):
    with pytest.raises(ValueError, match=message):
        make(**{"inputs": INPUTS, **settings})


def test_images_are_for_an_mlp_and_heads_divide_a_width():
    image = Image(size=(1, 2, 2), mean=(0.0,), std=(1.0,)).described()
    mlp = MLP(
        input_shape=(1, 2, 2), num_outputs=1, inputs={"picture": image, "row": INPUTS["numbers"]}
    )
    assert mlp(picture=torch.randn(5, 1, 2, 2), row=torch.randn(5, 2)).shape == (5, 1)
    with pytest.raises(ValueError, match="picture is image"):
        FTTransformer(inputs={"picture": image}, num_outputs=1)
    with pytest.raises(ValueError, match="heads=4 does not divide width=6"):
        FTTransformer(inputs=INPUTS, num_outputs=1, width=6, heads=4)


def test_a_class_that_hangs_on_both_kinds_of_column_is_learned():
    """By either alone half of the rows at most would be right."""
    torch.manual_seed(0)
    numbers, kinds = torch.randn(400, 2), torch.randint(0, 2, (400, 1))
    data = split_arrays(
        "both", {"numbers": numbers, "kinds": kinds},
        ((numbers[:, 0] > 0).long() ^ kinds[:, 0]),
        columns={"kinds": Categories(names=("sign",), options=(("plus", "minus"),))},
    )  # fmt: skip
    model = MLP(
        widths=(32,), **{k: data.info.facts[k] for k in ("input_shape", "inputs", "num_outputs")}
    )
    task = Classifier(model=model, info=data.info)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    rows = data.train.columns
    for _ in range(60):
        loss, seen = task("model", rows, {})
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert seen["accuracy"].mean() > 0.9
    assert functional.cross_entropy(task.answer(rows), rows["targets"]) < 0.3


def test_the_bins_come_from_the_training_rows_and_go_with_the_checkpoint(train, tmp_path):
    overrides = ("data=tabular", "data.name=iris", "model.numbers=piecewise", "trainer=smoke")
    run = train(tmp_path / "run", *overrides).folder
    tensors = load_file(run / "checkpoints" / "last.safetensors")
    edges = next(value for name, value in tensors.items() if name.endswith("edges"))
    assert edges.shape == (4, 33)
    assert (edges.diff() >= 0).all()
    assert (edges[:, -1] > edges[:, 0]).all()
    trained = load_trained(run / "checkpoints" / "last.safetensors")
    held = trained.task.model.embed.columns[0].edges
    torch.testing.assert_close(held.double(), edges.double())
    assert json.loads((run / "summary.json").read_text())["status"] == "finished"

"""`runs export format=hf`: what transformers makes of the folder."""

import json

import pytest
import torch
from safetensors.torch import load_file

from trainwright.data.columns import Tokens
from trainwright.data.text.as_library import library_json
from trainwright.nn.gpt.gpt import GPT

LETTERS = tuple("\n abcdé日🙂")


def network(**settings):
    torch.manual_seed(0)
    model = GPT(vocab_size=11, input_shape=(17,), depth=2, width=16, heads=4, **settings)
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    return model.eval()


@pytest.mark.slow  # to import transformers
@pytest.mark.numeric
@pytest.mark.parametrize(
    ("settings", "kind"),
    [
        ({}, "qwen3"),
        ({"activation": "swiglu", "kv_heads": 2, "tied": True}, "qwen3"),
        ({"qk_norm": False, "rotary_base": 500.0}, "llama"),
        ({"activation": "swiglu", "qk_norm": False}, "llama"),
        ({"activation": "gelu", "qk_norm": False, "hidden": 24}, "arcee"),
    ],
)
def test_transformers_says_the_same_of_each_token(settings, kind):
    transformers = pytest.importorskip("transformers")
    ours = network(**settings)
    plain, tensors = ours.as_pretrained()
    assert plain["model_type"] == kind
    config = transformers.AutoConfig.for_model(**plain)
    theirs = transformers.AutoModelForCausalLM.from_config(config).eval()
    missing, unexpected = theirs.load_state_dict(tensors, strict=False)
    assert not unexpected
    assert missing == (["lm_head.weight"] if ours.tied else [])
    theirs.tie_weights()
    tokens = torch.randint(0, 11, (3, 16), generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        expected = ours(tokens)
        atol = 1e-4 * float(expected.abs().max())
        torch.testing.assert_close(theirs(tokens).logits, expected, rtol=0, atol=atol)


def test_what_no_architecture_there_has_is_refused():
    with pytest.raises(ValueError, match=r"model\.activation=gelu with model\.qk_norm=true"):
        network(activation="gelu").as_pretrained()


@pytest.mark.parametrize(
    "column",
    [
        Tokens(length=9, vocabulary=LETTERS),
        Tokens(length=9, vocabulary=LETTERS, special=("<end>",)),
        Tokens(length=9, tokenizer="bytes"),
        Tokens(length=9, tokenizer="bytes", special=("<end>",)),
    ],
)
def test_the_tokenizer_of_the_folder_makes_the_same_tokens(column):
    tokenizers = pytest.importorskip("tokenizers")
    theirs = tokenizers.Tokenizer.from_str(library_json(column))
    for text in ("abc\n\nabd ", "é日🙂 a", " ", "dcba" * 50):
        ours = column.encode(text).tolist()
        assert theirs.encode(text).ids == ours
        assert theirs.decode(ours) == text
    if column.special:
        assert theirs.token_to_id("<end>") == column.end
    assert theirs.get_vocab_size() == column.num_options


@pytest.mark.slow  # to import transformers, twice
def test_the_exported_folder_writes_by_itself(user_runs, tmp_path):
    transformers = pytest.importorskip("transformers")
    run, call = user_runs
    code, out, err = call("export", run, "format=hf", f"out={tmp_path / 'made'}")
    assert code == 0, err
    assert "transformers says the same of every token" in out
    model = transformers.AutoModelForCausalLM.from_pretrained(tmp_path / "made")
    tokenizer = transformers.AutoTokenizer.from_pretrained(tmp_path / "made")
    prompt = tokenizer("To be", return_tensors="pt", return_token_type_ids=False)
    written = model.generate(**prompt, max_new_tokens=8, do_sample=False, pad_token_id=0)
    said = call("sample", run, "prompt=To be", "max_tokens=8", "temperature=0", "precision=fp32")
    assert tokenizer.decode(written[0]) == said[1].removesuffix("\n")
    stored = load_file(tmp_path / "made" / "model.safetensors")
    assert all(tensor.dtype == torch.float32 for tensor in stored.values())
    config = json.loads((tmp_path / "made" / "config.json").read_text())
    assert config["max_position_embeddings"] == 16
    code, _, err = call("export", run, "format=hf,onnx")
    assert (code, "format=hf makes a folder of its own" in err) == (2, True)


@pytest.fixture
def user_runs(train, tmp_path, capfd):
    """The folder of a run that has learned a few letters, and the command."""
    from trainwright.cli.runs import main

    (tmp_path / "play.txt").write_text("To be, or not to be: that is the question.\n" * 40)
    words = ("data=text", f"data.path={tmp_path / 'play.txt'}", "data.context=16")
    sizes = (
        "data.tokenizer=chars",
        "model=gpt",
        "model.depth=1",
        "model.width=16",
        "model.heads=1",
    )
    train(tmp_path / "run", *words, *sizes, "trainer.steps=4", "trainer.batch_size=4")

    def call(*words):
        capfd.readouterr()
        with pytest.raises(SystemExit) as stop:
            main([str(word) for word in words])
        return stop.value.code or 0, *capfd.readouterr()

    return tmp_path / "run", call

"""Networks of transformers: what is refused of a folder, and that they learn as by its own loop."""

import json
import shutil

import pytest
import torch
from safetensors.torch import load_file

from trainwright.engine.checkpoint import checkpoint
from trainwright.nn.pretrained.folder import check_weights, checked, read_architecture

TEXT = "To be, or not to be: that is the question.\n" * 60
SHAPES = {
    "gpt2": {"n_embd": 16, "n_layer": 2, "n_head": 2, "n_positions": 32, "resid_pdrop": 0.0,
             "embd_pdrop": 0.0, "attn_pdrop": 0.0},
    "llama": {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 2,
              "num_attention_heads": 2, "num_key_value_heads": 1, "max_position_embeddings": 32},
}  # fmt: skip


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """A tiny model of each kind with a tokenizer of its own, as transformers saves them."""
    transformers = pytest.importorskip("transformers")
    pytest.importorskip("peft")
    tokenizers = pytest.importorskip("tokenizers")
    transformers.utils.logging.disable_progress_bar()
    root = tmp_path_factory.mktemp("pretrained")
    (root / "play.txt").write_text(TEXT)
    letters = {letter: number for number, letter in enumerate(sorted(set(TEXT)))}
    made = tokenizers.Tokenizer(tokenizers.models.WordLevel(letters, unk_token=""))
    made.pre_tokenizer = tokenizers.pre_tokenizers.Split(tokenizers.Regex(r"[\s\S]"), "isolated")
    made.decoder = tokenizers.decoders.Fuse()
    for kind, shape in SHAPES.items():
        torch.manual_seed(1)
        ends = {"vocab_size": len(letters), "bos_token_id": None, "eos_token_id": None}
        config = transformers.AutoConfig.for_model(kind, **shape, **ends)
        model = transformers.AutoModelForCausalLM.from_config(config)
        for parameter in model.parameters():
            torch.nn.init.normal_(parameter, std=0.2)
        model.save_pretrained(root / kind)
        made.save(str(root / kind / "tokenizer.json"))
    return root


def words(folders, kind, *more):
    return (
        "model=hf", f"model.path={folders / kind}", "data=text",
        f"data.path={folders / 'play.txt'}", "data.context=16", "trainer.batch_size=4",
        "trainer.precision=fp32", "schedule=constant", "optimizer.weight_decay=0", *more,
    )  # fmt: skip


@pytest.mark.slow
@pytest.mark.numeric
@pytest.mark.parametrize("kind", SHAPES)
def test_it_learns_as_by_a_loop_of_transformers(folders, kind, train, assembled, tmp_path):
    transformers = pytest.importorskip("transformers")
    lr = "optimizer.lr=3e-3"
    clip = "trainer.clip_norm=null"
    typed = words(folders, kind, lr, clip, "trainer.steps=50", "trainer.log_every=1")
    outcome = train(tmp_path / "run", *typed)
    rows = map(json.loads, (outcome.folder / "metrics.jsonl").read_text().splitlines())
    learned = [row["train/loss"] for row in rows if "train/loss" in row]
    batches = assembled(*typed).train
    model = transformers.AutoModelForCausalLM.from_pretrained(folders / kind).train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3, weight_decay=0.0)
    expected = []
    for step in range(50):
        window = batches.at(step)["text"].long()
        loss = model(input_ids=window, labels=window).loss
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        expected.append(float(loss.detach()))
    assert expected[-1] < 0.9 * expected[0]
    assert learned == pytest.approx(expected, abs=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize("kind", SHAPES)
def test_with_lora_only_the_additions_learn_and_are_merged(folders, kind, train, call, tmp_path):
    transformers = pytest.importorskip("transformers")
    lora = ("model.lora.rank=2", "optimizer.lr=1e-2", "trainer.steps=5")
    train(tmp_path / "run", *words(folders, kind, *lora))
    tensors, metadata = checkpoint.load(tmp_path / "run" / "checkpoints" / "last.safetensors")
    assert metadata["architecture"]["model_type"] == kind
    before = load_file(folders / kind / "model.safetensors")
    kept = [
        name
        for name, tensor in before.items()
        for mine, other in tensors.items()
        if mine.replace(".base_layer", "").endswith(name) and torch.equal(tensor, other)
    ]
    assert set(kept) == set(before)
    code, _, err = call("export", tmp_path / "run", "format=hf", f"out={tmp_path / 'merged'}")
    assert code == 0, err
    merged = load_file(tmp_path / "merged" / "model.safetensors")
    changed = {name for name in before if not torch.equal(merged[name], before[name])}
    assert changed
    assert not any("embed" in name or "norm" in name or "wte" in name for name in changed)
    assert not any("lora" in name for name in merged)
    transformers.AutoModelForCausalLM.from_pretrained(tmp_path / "merged")


@pytest.mark.slow
@pytest.mark.parametrize("lora", ["model.lora.rank=null", "model.lora.rank=2"])
def test_a_checkpoint_needs_its_folder_no_more(folders, lora, train, resume, call, tmp_path):
    copied = tmp_path / "copied"
    shutil.copytree(folders, copied)
    run = tmp_path / "run"
    train(run, *words(copied, "llama", lora, "trainer.steps=4"))
    said = call("sample", run, "prompt=To be", "max_tokens=20", "precision=fp32")
    assert said[0] == 0, said
    shutil.rmtree(copied / "llama")
    assert call("sample", run, "prompt=To be", "max_tokens=20", "precision=fp32") == said
    resume(run, "trainer.steps=6")
    _, metadata = checkpoint.load(run / "checkpoints" / "last.safetensors")
    assert metadata["progress"]["step"] == 6


@pytest.fixture
def call(capfd):
    from trainwright.cli.runs import main

    def start(*words):
        capfd.readouterr()
        with pytest.raises(SystemExit) as stop:
            main([str(word) for word in words])
        return stop.value.code or 0, *capfd.readouterr()

    return start


@pytest.mark.slow
@pytest.mark.numeric
@pytest.mark.parametrize("kind", SHAPES)
def test_with_a_memory_it_says_what_it_says_without(folders, kind):
    from trainwright.nn.pretrained.causal import CausalLM

    model = CausalLM(path=str(folders / kind), vocab_size=18, input_shape=(17,)).eval()
    tokens = torch.arange(24).remainder(18)[None]
    memory, parts = model.memory(), []
    with torch.no_grad():
        for start, stop in ((0, 5), (5, 6), (6, 24)):
            parts.append(model(tokens[:, start:stop], cache=memory))
        torch.testing.assert_close(torch.cat(parts, dim=1), model(tokens), rtol=1e-4, atol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("given", "why"),
    [
        ({"vocab_size": 99}, r"knows 18 tokens, and the data have 99\n.*data\.tokenizer="),
        ({"input_shape": (50,)}, r"sees 32 tokens, and data\.context=49 is more"),
    ],
)
def test_data_that_do_not_suit_it_are_refused(folders, given, why):
    from trainwright.nn.pretrained.causal import CausalLM

    facts = {"vocab_size": 18, "input_shape": (17,), **given}
    with pytest.raises(ValueError, match=why):
        CausalLM(path=str(folders / "llama"), **facts)


@pytest.mark.parametrize(
    ("config", "why"),
    [
        (None, "is not the folder of a model: config.json: No such file"),
        ("{", "is not JSON"),
        ('{"model_type": "lama"}', "model_type=lama is not a decoder that is known here; did you"),
        ("[]", "model_type=None is not a decoder"),
        ('{"model_type": "../evil"}', "is not a decoder"),
        ('{"model_type": ["gpt2"]}', "is not a decoder"),
        ('{"model_type": "gpt2", "n_layer": 100000000000}', "n_layer: more than 1,000"),
        ('{"model_type": "gpt_neo", "attention_types": [[["local"], 1e9]]}', "more than 1,000"),
        ("[" * 100_000, "is not JSON"),
    ],
)
def test_a_folder_that_is_none_is_refused(config, why, tmp_path):
    if config is not None:
        (tmp_path / "config.json").write_text(config)
    with pytest.raises(ValueError, match=why):
        read_architecture(str(tmp_path))


def test_what_would_be_fetched_or_run_is_not_taken_over():
    plain = {
        "model_type": "gpt2",
        "n_embd": 8,
        "auto_map": {"AutoModelForCausalLM": "evil.Model"},
        "_attn_implementation": "someone/kernel",
        "attn_implementation": "someone/kernel",
    }
    assert checked(plain) == {"model_type": "gpt2", "n_embd": 8}


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("pytorch_model.bin", "holds its weights as pickle, which could run any code"),
        ("adapter_config.json", "holds an adapter of peft"),
        ("readme.md", "holds no model.safetensors"),
    ],
)
def test_weights_that_are_no_safetensors_are_refused(name, why, tmp_path):
    (tmp_path / name).write_text("{}")
    with pytest.raises(ValueError, match=why):
        check_weights(str(tmp_path))

"""Writing: what is drawn, how often, and that it is the same whoever else is written."""

import math

import pytest
import torch
from torch import nn

from trainwright.data.columns import Tokens
from trainwright.data.dataset import DataInfo
from trainwright.nn.gpt.gpt import GPT
from trainwright.tasks.language import Language
from trainwright.tasks.writing.reader import Reader, log_probabilities
from trainwright.tasks.writing.sampling import Draws, Sampling
from trainwright.tasks.writing.spelling import Spelling

LETTERS = tuple("abcdefgh\n")
CONTEXT = 12


def info(**column):
    found = Tokens(length=CONTEXT + 1, **({"vocabulary": LETTERS} | column))
    return DataInfo("letters", {"text": found}, ("text",))


def language(**settings):
    """A small decoder that is sure of nothing."""
    torch.manual_seed(0)
    facts = info()
    model = GPT(
        vocab_size=len(LETTERS), input_shape=(CONTEXT + 1,), depth=2, width=32, heads=4, **settings
    )
    for parameter in model.parameters():
        nn.init.normal_(parameter, std=0.3)
    return Language(model=model, info=facts, sample_tokens=20).eval()


def texts(writing):
    found = {}
    for piece in writing.pieces:
        found[piece.number] = found.get(piece.number, "") + piece.text
    return [found[number] for number in range(writing.num)]


def facts(writing):
    return [piece.facts for piece in writing.pieces if piece.facts is not None]


class Forgetful(nn.Module):
    """The same network, which reads all anew for every token."""

    def __init__(self, model):
        super().__init__()
        self.model = model

    def forward(self, tokens):
        return self.model(tokens)


@pytest.mark.numeric
@pytest.mark.usefixtures("doubles")
@pytest.mark.parametrize("kv_heads", [4, 2])
def test_with_a_memory_a_network_says_what_it_says_without(kv_heads):
    model = language(kv_heads=kv_heads).model
    with_it, without = Reader(model, CONTEXT), Reader(Forgetful(model), CONTEXT)
    draws = torch.Generator().manual_seed(3)
    prompt = torch.randint(0, len(LETTERS), (1, 5), generator=draws)
    rows = torch.cat([prompt.repeat(3, 1), torch.randint(0, 9, (3, 40), generator=draws)], dim=1)
    with torch.no_grad():
        torch.testing.assert_close(with_it(prompt), without(prompt), rtol=1e-12, atol=1e-12)
        with_it.repeat(3)
        for length in range(6, 45):  # the window slides at 13, and then every 6
            got, expected = with_it(rows[:, :length]), without(rows[:, :length])
            torch.testing.assert_close(got, expected, rtol=1e-11, atol=1e-11)


@pytest.mark.numeric
def test_with_a_memory_a_network_says_what_it_says_without_in_float32():
    model = language().model
    with_it, without = Reader(model, CONTEXT), Reader(Forgetful(model), CONTEXT)
    rows = torch.randint(0, 9, (4, 30), generator=torch.Generator().manual_seed(3))
    with torch.no_grad():
        for length in range(1, 30):
            got, expected = with_it(rows[:, :length]), without(rows[:, :length])
            torch.testing.assert_close(
                got, expected, rtol=0, atol=1e-5 * float(expected.abs().max())
            )


def test_of_a_text_longer_than_the_context_the_older_half_is_forgotten():
    seen = []

    class Sees(nn.Module):
        def __init__(self):
            super().__init__()
            self.weight = nn.Parameter(torch.zeros(1))

        def forward(self, tokens):
            seen.append(tokens[0].tolist())
            return torch.zeros(*tokens.shape, 9)

    reader = Reader(Sees(), 4)
    for length in range(3, 9):
        reader(torch.arange(length)[None])
    assert seen == [[0, 1, 2], [0, 1, 2, 3], [3, 4], [3, 4, 5], [3, 4, 5, 6], [6, 7]]


LOGITS = torch.tensor([[2.0, 1.0, 0.5, 0.0, -1.0]])
E = [math.exp(v) for v in (2.0, 1.0, 0.5, 0.0, -1.0)]


def share(weights):
    return [w / sum(weights) for w in weights]


@pytest.mark.numeric
@pytest.mark.parametrize(
    ("how", "expected"),
    [
        ({}, share(E)),
        ({"temperature": 0.5}, share([e**2 for e in E])),
        ({"top_k": 2}, share([*E[:2], 0, 0, 0])),
        # Shares are 0.579, 0.213, 0.129, 0.078, 0.029 of 1.03: three have 0.9 together.
        ({"top_p": 0.85}, share([*E[:3], 0, 0])),
        ({"top_p": 0.01}, [1, 0, 0, 0, 0]),
        ({"min_p": 0.3}, share([*E[:2], 0, 0, 0])),
        ({"min_p": 1.0}, [1, 0, 0, 0, 0]),
        # Of the text are 0 and 4: 2 / 2 and -1 * 2.
        ({"repetition_penalty": 2.0}, share([math.e, *E[1:4], math.exp(-2)])),
        ({"temperature": 0.0}, [1, 0, 0, 0, 0]),
        ({"temperature": 1e-300}, [1, 0, 0, 0, 0]),
        ({"temperature": 2.0, "top_k": 3, "min_p": 0.5}, share([e**0.5 for e in E[:2]] + [0] * 3)),
    ],
)
def test_what_is_drawn_is_as_likely_as_by_hand(how, expected):
    shares = Sampling(**how).shares(LOGITS, torch.tensor([[0, 4, 0]]))
    torch.testing.assert_close(shares, torch.tensor([expected], dtype=torch.float64))
    num = 4000
    draws = Draws(7, range(num), 1)
    drawn = draws.token(shares.repeat(num, 1), 0).bincount(minlength=5)
    counts = torch.tensor(expected, dtype=torch.float64) * num
    assert drawn[counts == 0].sum() == 0
    possible = counts > 0
    deviation = ((drawn[possible] - counts[possible]) ** 2 / counts[possible]).sum()
    assert deviation < 23.0  # chi-square of 4 degrees of freedom: 1 in 8,000 is above


@pytest.mark.slow  # to import transformers
def test_what_may_be_drawn_is_what_another_library_says():
    transformers = pytest.importorskip("transformers")
    generation = transformers.generation.logits_process
    generator = torch.Generator().manual_seed(1)
    logits = 3 * torch.randn(20, 50, generator=generator, dtype=torch.float64)
    text = torch.randint(0, 50, (20, 10), generator=generator)
    processors = [
        generation.RepetitionPenaltyLogitsProcessor(1.3),
        generation.TemperatureLogitsWarper(0.7),
        generation.TopKLogitsWarper(20),
        generation.TopPLogitsWarper(0.9),
        generation.MinPLogitsWarper(0.05),
    ]
    theirs = logits
    for processor in processors:
        theirs = processor(text, theirs)
    how = Sampling(temperature=0.7, top_k=20, top_p=0.9, min_p=0.05, repetition_penalty=1.3)
    torch.testing.assert_close(how.shares(logits, text), theirs.softmax(dim=1))


def test_a_draw_at_the_very_end_of_rounded_sums_is_a_token_with_a_share():
    draws = Draws(0, [0], 1)
    draws._uniform[:] = 1.0  # beyond what is ever drawn
    shares = torch.tensor([[0.1] * 3 + [0.0] * 2], dtype=torch.float64)
    assert draws.token(shares, 0).tolist() == [2]


def test_a_text_is_the_same_however_many_are_written():
    task = language()
    together = texts(task.generate(5, seed=1, prompt="abc", temperature=0.9, top_p=0.9))
    assert len(set(together)) == 5
    for num in (1, 2, 3):
        found = texts(task.generate(num, seed=1, prompt="abc", temperature=0.9, top_p=0.9))
        assert found == together[:num]
    assert texts(task.generate(5, seed=2, prompt="abc")) != together
    assert all(text.startswith("abc") and len(text) == 23 for text in together)


def test_fewer_tokens_are_the_beginning_of_more():
    task = language()
    (short,), (long,) = (
        texts(task.generate(seed=1, prompt="a", max_tokens=most)) for most in (7, 30)
    )
    assert (len(short), len(long)) == (8, 31)
    assert long.startswith(short)


@pytest.mark.numeric
@pytest.mark.usefixtures("doubles")
def test_what_is_told_of_a_text_is_what_the_network_says_of_it(tmp_path):
    task = language()
    file = tmp_path / "prompts.jsonl"
    file.write_text('{"prompt": "ab"}\n{"prompt": "cde", "more": 1}\n')
    found = facts(task.generate(2, seed=3, prompts=file, max_tokens=8, temperature=0.5))
    assert [told["prompt"] for told in found] == ["ab", "ab", "cde", "cde"]
    for told in found:
        whole = task.column.encode(told["prompt"] + told["text"])
        logits = task.model(whole[None])[0].detach().log_softmax(dim=-1)
        by_hand = sum(
            float(logits[i - 1, whole[i]]) for i in range(len(told["prompt"]), len(whole))
        )
        assert told["logprob"] == pytest.approx(by_hand, rel=1e-5)
        assert (told["tokens"], told["ended"]) == (8, "length")


@pytest.mark.numeric
@pytest.mark.usefixtures("doubles")
def test_without_tokens_to_write_it_is_told_how_likely_the_prompt_is():
    task = language()
    (told,) = facts(task.generate(seed=0, prompt="abca", max_tokens=0))
    tokens = task.column.encode("abca")
    logits = task.model(tokens[None])[0].detach().log_softmax(dim=-1)
    by_hand = [float(logits[i, tokens[i + 1]]) for i in range(3)]
    assert [word for word, _ in told["logprobs"]] == list("abca")
    assert told["logprobs"][0][1] is None
    assert [value for _, value in told["logprobs"][1:]] == pytest.approx(by_hand)
    assert told["logprob"] == pytest.approx(sum(by_hand))


@pytest.mark.numeric
@pytest.mark.usefixtures("doubles")
def test_in_a_long_text_each_token_is_seen_once_after_at_least_half_the_context():
    task, tokens = language(), torch.arange(50) % 9
    found = log_probabilities(task.model, tokens, CONTEXT)
    assert found.shape == (49,)
    begin = 0
    for place in range(1, 50):
        if place - begin > CONTEXT:
            begin += CONTEXT + 1 - 6
        logits = task.model(tokens[None, begin:place])[0, -1].detach().log_softmax(dim=-1)
        assert float(found[place - 1]) == pytest.approx(float(logits[tokens[place]]))


@pytest.mark.parametrize(
    ("stop", "whole", "text"),
    [
        (["END"], "one ENEND two", "one EN"),
        (["xx", "x"], "abxx", "ab"),
        (["b", "bc"], "abc", "a"),
        (["not there"], "not ther", "not ther"),
        ([], "abc", "abc"),
        (["aab"], "aaab", "a"),
    ],
)
def test_a_text_ends_before_a_stop_string_and_shows_nothing_of_it(stop, whole, text):
    spelling = Spelling(lambda tokens: "".join(map(chr, tokens)), [], stop)
    shown = ""
    for letter in whole:
        shown += spelling.add(ord(letter))
        assert text.startswith(shown)  # what was shown is never taken back
        if spelling.is_stopped:
            break
    assert shown + spelling.end() == text == spelling.text
    assert spelling.is_stopped == (text != whole)


def test_a_letter_is_shown_when_all_its_bytes_are_there():
    whole = "é日本🙂x".encode()
    spelling = Spelling(lambda tokens: bytes(tokens).decode(errors="replace"), [], [])
    shown = [spelling.add(byte) for byte in whole]
    assert "".join(shown) == "é日本🙂x"
    assert [len(text) for text in shown] == [0, 1, 0, 0, 1, 0, 0, 1, 0, 0, 0, 1, 1]
    spelling.add("日".encode()[0])
    assert spelling.end() == "�"


def test_the_end_of_a_document_ends_a_text_and_is_not_shown():
    class Ends(nn.Module):
        def __init__(self):
            super().__init__()
            self.weight = nn.Parameter(torch.zeros(1))

        def forward(self, tokens):
            logits = torch.zeros(*tokens.shape, 10)
            logits[..., 9 if tokens.shape[1] > 3 else 1] = 100.0
            return logits

    task = Language(model=Ends(), info=info(special=("<end>",)))
    (piece,) = [p for p in task.generate(seed=0, prompt="a").pieces if p.facts is not None]
    assert (piece.facts["text"], piece.facts["ended"], piece.facts["tokens"]) == ("bbb", "end", 4)


@pytest.mark.parametrize(
    ("how", "why"),
    [
        ({"top_p": 2.0}, "top_p=2 must be above 0 and at most 1"),
        ({"top_p": 0.0}, "top_p=0 must"),
        ({"top_k": 0}, "top_k=0 must be at least 1"),
        ({"min_p": -1.0}, "min_p=-1 must be from 0 to 1"),
        ({"temperature": -1.0}, "temperature=-1 must be at least 0"),
        ({"repetition_penalty": 0.0}, "repetition_penalty=0 must be above 0"),
        ({"max_tokens": -1}, "max_tokens=-1 is below 0"),
        ({"stop": ("",)}, "it would end a text before its first letter"),
        ({"prompt": "xyz"}, "prompt 'xyz': a letter is 'x', which is new"),
    ],
)
def test_what_cannot_be_is_refused_before_a_word_is_written(how, why):
    with pytest.raises(ValueError, match=why):
        language().generate(seed=0, **how)


@pytest.mark.parametrize(
    ("name", "content", "why"),
    [
        ("none.txt", None, "cannot be read: No such file"),
        ("empty.txt", b"\n\n", "holds none"),
        ("latin.txt", b"a\xe4", "is not UTF-8: see byte 1"),
        ("bad.jsonl", b'{"prompt": "a"}\n{"text": "b"}\n', "line 2 is not like"),
    ],
)
def test_a_file_of_prompts_that_is_none_is_refused(name, content, why, tmp_path):
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(ValueError, match=why):
        language().generate(seed=0, prompts=tmp_path / name)


def test_an_empty_prompt_is_the_beginning_of_a_text():
    task = language()
    assert texts(task.generate(seed=0, prompt="\n"))[0][1:] == texts(task.generate(seed=0))[0]

"""Files of text become documents, and documents parts of tokens."""

import gzip
import json

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from trainwright.data.examples import all_of
from trainwright.data.sources.text import load_text
from trainwright.data.text import corpus as corpus_module
from trainwright.data.text import token_cache
from trainwright.data.text.corpus import corpus_at
from trainwright.data.text.library import END, trained_bpe
from trainwright.errors import ConfigError, DataError

DOCUMENTS = ["héllo\nworld\n", "a cat 🐈 sat\n" * 9, "x", "two\n\nlines", "zz\n" * 30]


@pytest.fixture(autouse=True)
def _caches(monkeypatch, tmp_path):
    monkeypatch.setenv("TRAINWRIGHT_DATA", str(tmp_path / "root"))


@pytest.fixture
def small_pieces(monkeypatch):
    monkeypatch.setattr(corpus_module, "PIECE", 16)


def lines(tmp_path, documents=DOCUMENTS, key="text"):
    path = tmp_path / "many.jsonl"
    path.write_text("".join(json.dumps({key: text}) + "\n" for text in documents))
    return path


def documents_of(path, field="text"):
    found = {}
    for piece in corpus_at(str(path), field).pieces():
        found[piece.document] = found.get(piece.document, "") + piece.text
    return list(found.values())


@pytest.mark.usefixtures("small_pieces")
def test_a_text_is_read_in_pieces_that_end_with_lines_and_know_where_they_begin(tmp_path):
    path = tmp_path / "a.txt"
    path.write_text(DOCUMENTS[1] + "no end of the last line, which is long é")
    pieces = list(corpus_at(str(path), "text").pieces())
    assert "".join(piece.text for piece in pieces) == path.read_text()
    assert len(pieces) > 5
    data = path.read_bytes()
    assert all(data[p.start :].startswith(p.text.encode()) for p in pieces)
    assert [p.is_last for p in pieces] == [False] * (len(pieces) - 1) + [True]
    assert all(p.text.endswith("\n") for p in pieces[:8])


def test_a_folder_lines_rows_and_gzip_have_the_same_documents(tmp_path):
    pyarrow = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    folder = tmp_path / "notes"
    (folder / "deep").mkdir(parents=True)
    for number, text in enumerate(DOCUMENTS):
        (folder / ("deep" if number > 2 else ".") / f"{number}.txt").write_text(text)
    (folder / ".hidden.txt").write_text("not this")
    (folder / "picture.png").write_bytes(b"\0")
    plain = lines(tmp_path)
    (tmp_path / "many.jsonl.gz").write_bytes(gzip.compress(plain.read_bytes()))
    parquet.write_table(pyarrow.table({"body": DOCUMENTS}), tmp_path / "many.parquet")
    assert documents_of(folder) == DOCUMENTS
    assert documents_of(folder / "**" / "*.txt") == DOCUMENTS
    assert documents_of(plain) == DOCUMENTS
    assert documents_of(tmp_path / "many.jsonl.gz") == DOCUMENTS
    assert documents_of(tmp_path / "many.parquet", "body") == DOCUMENTS


def stream_of(split):
    """The tokens of a split, without what its windows have in common."""
    windows = all_of(split, "text").long()
    return [t for t in [int(windows[0, 0]), *windows[:, 1:].flatten().tolist()] if t >= 0]


def test_a_single_text_is_divided_where_it_is_and_no_letter_is_cut(tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("é" * 50 + "\n" + "🐈b" * 20)
    for validation in range(8, 14):
        data = load_text(path=str(path), context=3, validation=validation, test=7)
        (column,) = data.info.columns.values()
        texts = [column.text(torch.tensor(stream_of(data.splits[name])))
                 for name in ("validation", "test")]  # fmt: skip
        assert path.read_text().endswith("".join(texts))
        assert "�" not in "".join(texts)
        assert abs(len(texts[0].encode()) - validation) < 4


def test_another_text_that_a_run_is_measured_on_is_the_test_as_a_whole(tmp_path):
    (tmp_path / "a.txt").write_bytes(LONG)
    learned = load_text(path=str(tmp_path / "a.txt"), context=9)
    (tmp_path / "other.txt").write_text("good")
    other = load_text(path=str(tmp_path / "other.txt"), known=learned.info, whole=True)
    assert [len(split) for split in other.splits.values()] == [0, 0, 1]
    assert other.test.take(torch.tensor([0]))["text"].tolist() == [[*b"good", *[-1] * 6]]
    with pytest.raises(ConfigError, match="not for training"):
        load_text(path=str(tmp_path / "a.txt"), whole=True)


def test_with_a_stride_training_windows_overlap_and_the_others_do_not(tmp_path):
    (tmp_path / "a.txt").write_bytes(LONG)
    data = load_text(path=str(tmp_path / "a.txt"), context=4, stride=3)
    (tokens,) = data.train.take(torch.arange(len(data.train))).values()
    stream = torch.tensor(list(LONG))
    expected = stream[: 3 * (len(tokens) - 1) + 5].unfold(0, 5, 3)
    assert torch.equal(tokens.long(), expected)
    assert len(tokens) == (160 - 5) // 3 + 1
    assert len(data.validation) == 5  # of 20 tokens, 19 of which are predicted
    few = load_text(path=str(tmp_path / "a.txt"), context=4, stride=3, limit=2)
    assert len(few.train) == 2


def test_documents_are_divided_whole_and_each_begins_with_its_token(tmp_path):
    texts = [f"{n:03d}." * 5 for n in range(40)]
    data = load_text(path=str(lines(tmp_path, texts)), context=7, validation=0.2, test=4)
    (column,) = data.info.columns.values()
    found = {}
    for name, split in data.splits.items():
        text = column.text(torch.tensor(stream_of(split)))
        found[name] = text.split("<end>")[1:]
    assert len(found["validation"]) == 8
    assert len(found["test"]) == 4
    assert not {*found["validation"]} & {*found["test"]}
    assert {*found["validation"], *found["test"]} < {*texts}
    train = {text for text in found["train"] if len(text) == 20}  # the last may be cut
    assert not train & {*found["validation"], *found["test"]}


def test_tokens_are_made_once_and_again_when_the_text_changes(tmp_path, monkeypatch):
    path = tmp_path / "a.txt"
    path.write_text("some text\n" * 90)
    first = load_text(path=str(path), context=7)
    made = []
    fill = token_cache._fill
    monkeypatch.setattr(token_cache, "_fill", lambda *given: made.append(1) or fill(*given))
    again = load_text(path=str(path), context=7)
    assert not made
    assert stream_of(first.test) == stream_of(again.test)
    path.write_text("same text\n" * 90)
    load_text(path=str(path), context=7)
    assert made == [1]


def test_a_damaged_cache_is_told_and_not_used(tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("some text\n" * 90)
    load_text(path=str(path), context=7)
    (file,) = (tmp_path / "root" / "text-cache").glob("*/train.bin")
    file.write_bytes(b"\1" + file.read_bytes()[1:])
    with pytest.raises(DataError, match=r"the cache of tokens .* is damaged"):
        load_text(path=str(path), context=7)


@pytest.fixture(scope="module")
def bpe():
    pytest.importorskip("tokenizers")
    return trained_bpe(["the cat sat on the mat, the dog too\n" * 9, "naïve é"], 280)


@given(text=st.text())
@settings(deadline=None, max_examples=30)
def test_bpe_brings_any_text_back(bpe, text):
    tokens = bpe.encode(text)
    assert bpe.decode(tokens.tolist()) == text
    assert bpe.num_bytes[tokens].sum() == len(text.encode())


def test_bpe_has_learned_from_the_training_part_alone(tmp_path):
    pytest.importorskip("tokenizers")
    path, found = tmp_path / "a.txt", []
    for ending in ("abcabd", "qqwqqw"):
        path.write_text("the cat sat\n" * 60 + ending * 20)
        data = load_text(
            path=str(path), tokenizer="bpe", vocab_size=262, context=5, validation=60, test=60
        )
        (column,) = data.info.columns.values()
        found.append(column.tokenizer)
        assert column.end == 0
    assert found[0] == found[1]
    assert {"cat", "sat", "the"} <= set(json.loads(found[0])["model"]["vocab"])


def test_somebodys_tokenizer_is_taken_from_its_file(tmp_path, bpe):
    (tmp_path / "tokenizer.json").write_text(bpe.plain)
    (tmp_path / "a.txt").write_text("the cat sat\n" * 60)
    data = load_text(path=str(tmp_path / "a.txt"), tokenizer=str(tmp_path), context=5)
    (column,) = data.info.columns.values()
    assert column.num_options == bpe.size
    assert column.text(torch.tensor(stream_of(data.test))).endswith("the cat sat\n")
    assert column.text(torch.tensor([0])) == END


def test_text_for_a_trained_run_is_read_with_its_tokens(tmp_path):
    path, other = tmp_path / "a.txt", tmp_path / "b.txt"
    path.write_text("abcd" * 90)
    other.write_text("dcab" * 90)
    data = load_text(path=str(path), tokenizer="chars", context=5)
    learned = load_text(path=str(other), tokenizer="bytes", context=9, known=data.info)
    assert learned.info.columns == data.info.columns
    other.write_text("dcabz" * 90)
    with pytest.raises(DataError, match="a letter is 'z', which is new"):
        load_text(path=str(other), known=data.info)


def refused(tmp_path, content, name="a.txt", **settings):
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises((ConfigError, DataError)) as error:
        load_text(path=str(path), **{"context": 3, **settings})
    assert len(str(error.value).splitlines()) <= 5
    return str(error.value)


LONG = b"good text\n" * 20


@pytest.mark.usefixtures("small_pieces")
@pytest.mark.parametrize(
    ("content", "settings", "why"),
    [
        (b"", {}, "is empty"),
        (LONG + b"\0" + LONG, {}, "is not text: byte 200 is 0x00"),
        (LONG + b"caf\xe9 x\n", {}, "is not UTF-8: byte 203 is 0xe9"),
        (LONG + b"\xf0\x9f\x90", {}, "is not UTF-8: byte 200 is 0xf0"),
        (LONG, {"context": 161}, "the training part has 160 tokens, and a context of 161"),
        (LONG, {"context": 0}, "data.context=0"),
        (LONG, {"stride": 0}, "data.stride=0: it must be 1 to the context, 3"),
        (LONG, {"packing": "within"}, "is one text, not several documents"),
        (LONG, {"validation": 1.5}, "data.validation is 1.5"),
        (LONG, {"tokenizer": "nowhere.json"}, "data.tokenizer=nowhere.json: there is no such"),
        (LONG, {"tokenizer": "bpe", "vocab_size": 4096}, "the training part has only"),
        (LONG, {"tokenizer": "bpe", "vocab_size": 100}, "bpe needs 257"),
        (LONG, {"limit": 0}, "data.limit is 0"),
    ],
)
def test_bad_text_is_refused_with_the_place(tmp_path, content, settings, why):
    assert why in refused(tmp_path, content, **settings)


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b'{"text": "a"}\n{"body": "b"}\n', "line 2: no text in the field 'text'"),
        (b'{"text": "a"}\n\n{"text": 3}\n', "line 3: no text in the field 'text'"),
        (b'{"text": "a"}\nnot json\n', "line 2: not JSON"),
        (b'["text"]\n', "line 1: no text in the field 'text'"),
        (b'{"text": "\\ud800"}\n', "line 1: half a surrogate pair"),
        (b"[" * 100_000, "line 1: not JSON"),
    ],
)
def test_bad_lines_are_refused_with_their_number(tmp_path, content, why):
    assert why in refused(tmp_path, content, "a.jsonl")


def test_a_line_of_json_too_long_for_memory_is_refused_before_it_is_read(tmp_path, monkeypatch):
    monkeypatch.setattr(corpus_module, "LONGEST_LINE", 20)
    assert "line 1: longer than" in refused(tmp_path, b'{"text": "' + b"a" * 99, "a.jsonl")


def test_gzip_that_is_none_or_ends_early_is_refused(tmp_path):
    whole = gzip.compress(np.random.default_rng(0).bytes(9).hex().encode() * 50)
    assert "is not a whole gzip file" in refused(tmp_path, b"plain", "a.txt.gz")
    assert "is not a whole gzip file" in refused(tmp_path, whole[:-9], "a.txt.gz")


def test_what_is_not_there_is_refused(tmp_path):
    (tmp_path / "notes.txt").write_text("a")
    (tmp_path / "pictures").mkdir()
    (tmp_path / "pictures" / "a.png").write_bytes(b"a")
    for path, why in (
        ("note.txt", "did you mean notes.txt?"),
        ("pictures", "1 files, and none ends in .txt"),
        ("*.md", "no file matches"),
    ):
        with pytest.raises(ConfigError, match=why.replace("?", r"\?")):
            load_text(path=str(tmp_path / path))

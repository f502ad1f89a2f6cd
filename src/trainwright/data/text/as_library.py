"""Any tokenizer of ours as the JSON of the library tokenizers, for other programs."""

from typing import Any

from trainwright.data.columns.tokens import Tokens
from trainwright.data.text.library import LibraryTokenizer, the_library
from trainwright.data.text.tokenizer import NUM_BYTES


def library_json(column: Tokens) -> str:
    """What `tokenizer.json` holds, with special tokens. Raises ConfigError without the library."""
    library = the_library()
    if isinstance(column.coder, LibraryTokenizer):
        made = library.Tokenizer.from_str(column.coder.plain)
    elif column.tokenizer == "bytes":
        made = _of_bytes(library)
    else:
        made = _of_letters(library, column.vocabulary)
    made.add_special_tokens(list(column.special))
    text: str = made.to_str()
    return text


def _of_bytes(library: Any) -> Any:
    """A BPE that merges nothing: each byte's letter there has the number of the byte."""
    seen = [*range(33, 127), *range(161, 173), *range(174, 256)]
    unseen = [byte for byte in range(NUM_BYTES) if byte not in seen]
    # GPT-2's letters for bytes: what cannot be seen comes after the first 256 of Unicode.
    vocabulary = {chr(byte): byte for byte in seen}
    vocabulary |= {chr(NUM_BYTES + place): byte for place, byte in enumerate(unseen)}
    made = library.Tokenizer(library.models.BPE(vocab=vocabulary, merges=[]))
    made.pre_tokenizer = library.pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    made.decoder = library.decoders.ByteLevel()
    return made


def _of_letters(library: Any, vocabulary: tuple[str, ...]) -> Any:
    words = {letter: number for number, letter in enumerate(vocabulary)}
    made = library.Tokenizer(library.models.WordLevel(vocab=words, unk_token=""))
    made.pre_tokenizer = library.pre_tokenizers.Split(library.Regex(r"[\s\S]"), "isolated")
    made.decoder = library.decoders.Fuse()
    return made

"""Holding a loaded tokenizer against its ``tokenizer.json``, which is what the model was trained with.

Many classes of transformers 5 take the vocabulary from the file and build everything else anew. Where a folder's
normaliser, pre-tokenizer, template or added tokens are not the class's own, the ids are then other ones.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer
from transformers import PreTrainedTokenizerFast
from transformers.tokenization_utils_base import PreTrainedTokenizerBase
from transformers.utils import cached_file

from zskd.models.reading import first_line

# Words, digits, punctuation, accents, capitals, other scripts, symbols, and a word that is too long for some models.
# Nothing here has two spaces in a row: texts are cleaned of them, and classes differ there without harm.
TEXTS = (
    "one of them", "The old RIVER crosses McDonald's Valley", "in 1987, 3.14 or 1,000,000 (50 %)",
    "don't stop-it; well... \"quoted\" [and] {so} <on>", "café naïve Ångström façade Zürich", "ÉCOLE İstanbul ΑΘΗΝΑ",
    "привет мир", "東京は大きい", "नमस्ते दुनिया", "مرحبا بالعالم", "a_b@example.com/x?y=1&z=#2", "x ½ ² № € 😀",
    "antidisestablishmentarianism" * 5,
)  # fmt: skip
Reads = Callable[[], AbstractContextManager[None]]  # around calls in which a faulty file makes the libraries raise
MOST_ADDED = 40  # added tokens that are looked at; some vocabularies have thousands


def find_file(name: str, arguments: dict[str, Any]) -> str | None:
    """Path of the ``tokenizer.json`` of a folder or Hub id, None where there is none.

    Args:
        arguments: further arguments of ``from_pretrained``, such as the revision.
    """
    # The tokenizer was loaded just before: what it was made of is in the cache, without the Hub.
    silent = ("missing_entries", "connection_errors", "gated_repo")
    options = {f"_raise_exceptions_for_{what}": False for what in silent}
    path: str | None = cached_file(name, "tokenizer.json", **options, **arguments)
    return path


def as_filed(
    tokenizer: PreTrainedTokenizerBase, path: str | None, *, segments: bool, reads: Reads = nullcontext
) -> tuple[PreTrainedTokenizerBase, str]:
    """A tokenizer that gives the ids of its ``tokenizer.json``: itself if it does, else one made of the file.

    Args:
        path: of the file; None where there is none.
        segments: whether segments are part of the comparison; a model that never sees them does not mind.
        reads: makes a context for calls of the libraries, as `zskd.models.reading.reading` does; default: none.

    Returns:
        The tokenizer, and what differs: empty where nothing does, or where there is no file.
    """
    # RoFormer's own word splitter is code that no file can hold.
    if (
        path is None
        or getattr(tokenizer, "backend_tokenizer", None) is None
        or type(tokenizer).__name__ == "RoFormerTokenizer"
    ):
        return tokenizer, ""
    with reads():
        filed = Tokenizer.from_file(path)
        filed.no_truncation()
        filed.no_padding()
    found = difference(tokenizer, filed, segments=segments, reads=reads)
    return (_made_of(filed, tokenizer, reads), found) if found else (tokenizer, "")


def difference(
    tokenizer: PreTrainedTokenizerBase, filed: Tokenizer, *, segments: bool, reads: Reads = nullcontext
) -> str:
    """The first difference between a tokenizer and a file's, in words; empty if the ids of all texts are equal."""
    for text in (*TEXTS, *_with_added(tokenizer, filed)):
        for given in ((text,), (text, TEXTS[0]), (TEXTS[0], text)):
            with reads():
                plain = tokenizer(*given, add_special_tokens=False, verbose=False)["input_ids"]
                (plainly,) = filed.encode_batch([given if len(given) == 2 else text], add_special_tokens=False)
                whole = tokenizer(*given, return_token_type_ids=True, verbose=False)
                wanted = filed.encode(*given)
            if plain != plainly.ids:
                part, tokens = _part(tokenizer, filed, text), tokenizer.convert_ids_to_tokens(plain)
                return f"{part}: {text!r} gives {_few(tokens)}, in the file {_few(plainly.tokens)}"
            if whole["input_ids"] != wanted.ids:
                tokens = tokenizer.convert_ids_to_tokens(whole["input_ids"])
                return f"post-processor: {text!r} gives {_few(tokens)}, in the file {_few(wanted.tokens)}"
            if segments and whole["token_type_ids"] != wanted.type_ids:
                return f"post-processor: segments {_few(whole['token_type_ids'])}, in the file {_few(wanted.type_ids)}"
    return ""


def _with_added(tokenizer: PreTrainedTokenizerBase, filed: Tokenizer) -> list[str]:
    """Texts with the file's added tokens inside a text, the first and the last of them.

    Not with those of every model of a family, such as [MASK]: they stand in no text, and classes differ there.
    """
    rows, named = filed.get_vocab_size(with_added_tokens=False), set(map(str, _named(tokenizer).values()))
    tokens = sorted(filed.get_added_tokens_decoder().items())
    added = [token.content for index, token in tokens if index >= rows and token.content not in named]
    shown = added if len(added) <= MOST_ADDED else [*added[: MOST_ADDED // 2], *added[-MOST_ADDED // 2 :]]
    return [f"one {token} of{token}them" for token in shown]


def _part(tokenizer: PreTrainedTokenizerBase, filed: Tokenizer, text: str) -> str:
    """The first part of the way from text to ids that differs."""
    own = tokenizer.backend_tokenizer
    added = [{str(token) for token in each.get_added_tokens_decoder().values()} for each in (own, filed)]
    if added[0] != added[1]:
        return "added tokens"
    normal = [each.normalizer.normalize_str(text) if each.normalizer else text for each in (own, filed)]
    if normal[0] != normal[1]:
        return "normaliser"
    words = [each.pre_tokenizer.pre_tokenize_str(normal[0]) if each.pre_tokenizer else None for each in (own, filed)]
    if words[0] != words[1]:
        return "pre-tokenizer"
    return "added tokens" if any(token in text for token in added[1]) else "model"


def _named(tokenizer: PreTrainedTokenizerBase) -> dict[str, str]:
    """The special tokens that have a name, such as ``mask_token``."""
    return {name: token for name, token in tokenizer.special_tokens_map.items() if isinstance(token, str)}


def _few(items: list[Any]) -> str:
    return " ".join(str(item) for item in items[:12]) + (" ..." if len(items) > 12 else "")


def _made_of(filed: Tokenizer, tokenizer: PreTrainedTokenizerBase, reads: Reads) -> PreTrainedTokenizerFast:
    """A tokenizer of the general class, which is saved and loaded as the file says, with the special tokens of another.

    A class that builds its tokenizer anew would lose the file again when what was saved is loaded.
    """
    known = filed.get_vocab()
    # A class may name tokens that the file lacks; the model has no rows for these.
    named = {name: token for name, token in _named(tokenizer).items() if token in known}
    extra = [token for token in tokenizer.extra_special_tokens if str(token) in known]
    with reads():
        made = PreTrainedTokenizerFast(
            tokenizer_object=filed,
            model_max_length=tokenizer.model_max_length,
            padding_side=tokenizer.padding_side,
            truncation_side=tokenizer.truncation_side,
            model_input_names=list(tokenizer.model_input_names),
            pad_token_type_id=tokenizer.pad_token_type_id,
            clean_up_tokenization_spaces=tokenizer.clean_up_tokenization_spaces,
            extra_special_tokens=extra,
            **named,
        )
    made.name_or_path = tokenizer.name_or_path
    return made


def tokenizer_problem(error: BaseException, *, folder: Path) -> str:
    """What a message says of an error while a tokenizer was loaded: the file at fault, or the package that it takes."""
    line = first_line(error)
    if (path := folder / "tokenizer.json").is_file() and not _opens(path):
        return f"tokenizer.json: {line}"
    if any(word in line for word in (".model", "tiktoken", "SentencePiece", "protobuf")):
        # transformers hides the reason, takes the file for one of tiktoken's and asks for that package.
        return (
            "a `.model` file takes the packages sentencepiece and protobuf, in versions that fit "
            "(pip install --upgrade zskd); where these are installed, the file is damaged"
        )
    return line


def _opens(path: Path) -> bool:
    """Whether a ``tokenizer.json`` is one in itself."""
    try:
        Tokenizer.from_file(str(path))
    except Exception:  # the Rust library raises plain exceptions
        return False
    return True

"""Tokenizers as a model was trained with them: loading, what is put right on the way, and their fingerprints.

transformers 5 builds some tokenizers in another way than the version that a model was trained with. What that changes
is put right here, or refused, and said; what changes ids is remembered for the cache of labels (`guards`).
"""

from __future__ import annotations

import functools
import hashlib
import inspect
import itertools
import json
import logging
from pathlib import Path
from typing import TYPE_CHECKING, Any

import transformers
from transformers import (
    AutoConfig,
    AutoModelForSequenceClassification,
    AutoTokenizer,
    PreTrainedConfig,
    PreTrainedModel,
)
from transformers.models.auto.tokenization_auto import get_tokenizer_config
from transformers.tokenization_utils_base import PreTrainedTokenizerBase

from zskd.errors import InputError
from zskd.models.folder_files import check_folder
from zskd.models.labels import read_folder_json
from zskd.models.reading import reading
from zskd.models.tokenizer_file import Reads, as_filed, find_file, tokenizer_problem
from zskd.system.yaml_text import brief

if TYPE_CHECKING:  # it imports this module
    from zskd.models.loading import Origin

logger = logging.getLogger(__name__)

SEGMENTS = "token_type_ids"
# Guards: what was put right, as far as it changes what a model reads.
FILE, SEGMENTED, PAIRS_SEGMENTED, PADDED = "file", "segments", "pair segments", "padding"
UNPADDED = "no padding"  # texts of one length are read together, because the model reads padding
_GUARDS = "_zskd_guards"  # attribute of a tokenizer

# Classes that gave `token_type_ids` in transformers 4.57 and do not in 5.23, by their names without "Fast". The other
# classes do as they did. The last ones are the general classes, which every tokenizer of one's own was saved as.
_GAVE_SEGMENTS = {
    "AlbertTokenizer", "BertJapaneseTokenizer", "BertweetTokenizer", "CTRLTokenizer", "CpmTokenizer",
    "FlaubertTokenizer", "FunnelTokenizer", "HerbertTokenizer", "PhobertTokenizer", "RemBertTokenizer",
    "RoCBertTokenizer", "RoFormerTokenizer", "SplinterTokenizer", "XLMTokenizer", "XLNetTokenizer",
    "PreTrainedTokenizer", "TokenizersBackend", "PythonBackend",
}  # fmt: skip
# Families with segments whose configuration has no `type_vocab_size`. XLNet and Funnel compare the segments of two
# tokens; the others add the word embeddings of the segments' numbers. Zeros are the same as none for Funnel alone.
_WITHOUT_SIZE = {"ctrl", "flaubert", "funnel", "xlm", "xlnet"}
_PAIR = ("one of them", "and another")
_JSON = ("tokenizer_config.json", "special_tokens_map.json", "added_tokens.json")


def load_tokenizer(origin: Origin, *, flag: str) -> PreTrainedTokenizerBase:
    """Load the tokenizer of a model, so that it gives the ids that the model was trained with.

    Segments (``token_type_ids``) are given where the model has them and the tokenizer gave them when the model was
    trained, as the tokenizer's template says, and not given to a model that does not take them. A ``tokenizer.json``
    that transformers builds in another way is used as it stands, with a warning. What `guards` lists was put right.

    Raises:
        InputError: there is no tokenizer, it does not know ordinary words, its segments are not the model's, or a
            package it needs is missing.
    """
    shown, folder = f"{flag} {origin.name}", Path(origin.name)
    if folder.is_dir():
        check_folder(folder, flag=flag, weights=())
        for name in _JSON:
            if (folder / name).exists():
                read_folder_json(folder, name, flag=flag)
    problem = functools.partial(tokenizer_problem, folder=folder)
    reads = functools.partial(reading, shown, "the tokenizer does not load", problem)
    with reads():
        tokenizer = AutoTokenizer.from_pretrained(origin.name, trust_remote_code=False, **origin.arguments)
        config = AutoConfig.from_pretrained(origin.name, trust_remote_code=False, **origin.arguments)
        saved = get_tokenizer_config(origin.name, **origin.arguments)
        path = find_file(origin.name, origin.arguments)
    given = tokenizer.model_input_names
    if not isinstance(given, list | tuple) or "input_ids" not in given or not all(isinstance(x, str) for x in given):
        raise InputError(
            f"{shown}: expected input_ids among model_input_names in tokenizer_config.json, found {brief(given)}"
        )
    names = _inputs(tokenizer, config, saved, reads)
    filed, found = as_filed(tokenizer, path, segments=SEGMENTS in names, reads=reads)
    if found:
        logger.warning(
            "%s: transformers %s builds %s in another way than its tokenizer.json says (%s); the file is used",
            shown, transformers.__version__, type(tokenizer).__name__, found,
        )  # fmt: skip
        remember(filed, FILE)
    if len(filed) < 8:
        # Some tokenizer classes load without a vocabulary and then map every word to [UNK].
        raise InputError(f"{shown}: its tokenizer knows {len(filed)} tokens; the vocabulary is missing")
    if not _knows_words(filed, reads):
        raise InputError(f"{shown}: its tokenizer answers {filed.unk_token} to ordinary words")
    with reads():
        around, ids = {filed.cls_token_id, filed.sep_token_id}, set(filed(_PAIR[0])["input_ids"])
    if path is None and None not in around and not around & ids:
        raise InputError(
            f"{shown}: expected {filed.cls_token} and {filed.sep_token} around a text, found neither: transformers "
            f"{transformers.__version__} builds {type(filed).__name__} without its template from the files of this "
            "folder; add the tokenizer.json that transformers 4 saves"
        )
    _name_inputs(filed, names, config, like_albert=_was_right(tokenizer, config, saved), shown=shown, reads=reads)
    return filed


def _knows_words(tokenizer: PreTrainedTokenizerBase, reads: Reads) -> bool:
    """Whether a tokenizer has a token for any of a few English words, or for words of its own vocabulary."""

    def known(words: str) -> bool:
        with reads():
            ids, unknown = tokenizer(words, add_special_tokens=False)["input_ids"], tokenizer.unk_token_id
        return not set(ids) <= {unknown}

    if known("one of them"):
        return True
    # A vocabulary of Greek or German words may have none of these.
    with reads():
        vocabulary = sorted(tokenizer.get_vocab())
    own = (token.lstrip("▁Ġ") for token in vocabulary)
    return known(" ".join(itertools.islice((word for word in own if word.isalpha()), 50)))


def guards(tokenizer: PreTrainedTokenizerBase, texts: int | None = None) -> tuple[str, ...]:
    """What was put right in a tokenizer so that its ids changed, sorted; empty for most.

    Args:
        texts: number of texts of an input; what changes pairs only does not count for 1.
    """
    found = getattr(tokenizer, _GUARDS, ())
    return tuple(sorted(name for name in found if texts != 1 or name != PAIRS_SEGMENTED))


def remember(tokenizer: PreTrainedTokenizerBase, guard: str) -> None:
    """Add to `guards`."""
    setattr(tokenizer, _GUARDS, (*getattr(tokenizer, _GUARDS, ()), guard))


def tokenizer_fingerprint(tokenizer: PreTrainedTokenizerBase) -> str:
    """Hex SHA-256 over everything that decides the ids of a text."""
    digest = hashlib.sha256(type(tokenizer).__name__.encode())
    backend = getattr(tokenizer, "backend_tokenizer", None)
    if backend is not None:
        state = json.loads(backend.to_str())
        # Earlier calls leave padding and truncation set on the backend; neither is part of the fingerprint.
        state.pop("truncation", None)
        state.pop("padding", None)
        digest.update(json.dumps(state, sort_keys=True).encode())
    else:
        digest.update(json.dumps(tokenizer.get_vocab(), sort_keys=True).encode())
    return digest.hexdigest()


def drop_untaken(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> None:
    """Let a tokenizer give no segments to a model in memory that takes none, or has a single one."""
    taken = inspect.signature(model.forward).parameters
    single = _rows(model.config) == 1
    if SEGMENTS in tokenizer.model_input_names and (SEGMENTS not in taken or single):
        names = [name for name in tokenizer.model_input_names if name != SEGMENTS]
        tokenizer.model_input_names = tokenizer.init_kwargs["model_input_names"] = names


def omits_segments(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> bool:
    """Whether nobody can tell if a model was trained with segments.

    It has several, its tokenizer's template tells two texts apart, and the tokenizer neither gives ``token_type_ids``
    nor lists what it gives. Trained by transformers 5, such a model has seen none; trained by a program that asked for
    them, it has.
    """
    if SEGMENTS in tokenizer.model_input_names or "model_input_names" in tokenizer.init_kwargs:
        return False
    if (_rows(model.config) or 0) <= 1 or SEGMENTS not in inspect.signature(model.forward).parameters:
        return False
    return any(tokenizer(*_PAIR, return_token_type_ids=True).get(SEGMENTS, ()))


def gives_segments(tokenizer: PreTrainedTokenizerBase, texts: int) -> bool:
    """Whether the segments of an input with this number of texts say anything: of one text, they are often all 0."""
    if SEGMENTS not in tokenizer.model_input_names:
        return False
    return texts == 2 or any(tokenizer(_PAIR[0])[SEGMENTS])


def _taken(config: PreTrainedConfig) -> frozenset[str] | None:
    """Inputs that the family's classifier takes; None for a family without one."""
    kind = AutoModelForSequenceClassification._model_mapping.get(type(config), None)
    return None if kind is None else frozenset(inspect.signature(kind.forward).parameters)


def _rows(config: PreTrainedConfig) -> int | None:
    """Number of segments that a model tells apart; None where its configuration says none, or no number."""
    rows = getattr(config, "type_vocab_size", None)
    return rows if isinstance(rows, int) else None


def _inputs(
    tokenizer: PreTrainedTokenizerBase, config: PreTrainedConfig, saved: dict[str, Any], reads: Reads
) -> list[str]:
    """Names of the inputs that a tokenizer is to give.

    Args:
        saved: content of ``tokenizer_config.json``.
    """
    names, taken = list(tokenizer.model_input_names), _taken(config)
    names.sort(key=lambda name: name != "input_ids")  # padding goes by the first one
    if taken is None:
        return names
    if SEGMENTS in names and (SEGMENTS not in taken or _rows(config) == 1):
        names.remove(SEGMENTS)  # a TypeError, or an index beyond the only row
    elif SEGMENTS not in names and SEGMENTS in taken and _lost_segments(tokenizer, config, saved, reads):
        names.insert(1, SEGMENTS)
    if "attention_mask" in taken and "attention_mask" not in names:
        names.append("attention_mask")  # without it a model reads the padding
    return names


def _lost_segments(
    tokenizer: PreTrainedTokenizerBase, config: PreTrainedConfig, saved: dict[str, Any], reads: Reads
) -> bool:
    """True for a tokenizer that gave ``token_type_ids`` when its model was trained, and no longer does.

    transformers 4 gave them; transformers 5 leaves them out without a warning (its issue 48128), and a teacher of pairs
    would receive inputs that it was never trained on. Folders that list their inputs, as every saved student of such a
    teacher does, and folders that transformers 5 wrote are not affected: these were trained without.
    """
    if "model_input_names" in saved:
        return False
    if (_rows(config) or 0) <= 1 and config.model_type not in _WITHOUT_SIZE:
        return False
    named = saved.get("tokenizer_class") or getattr(config, "tokenizer_class", None) or type(tokenizer).__name__
    name = str(named).removesuffix("Fast")
    # A class that transformers does not have was derived from the general one. For some families (Nystromformer) it
    # builds the general one whatever class is named.
    with reads():
        listed = getattr(getattr(transformers, name, None), "model_input_names", (SEGMENTS,))
    if name not in _GAVE_SEGMENTS and SEGMENTS not in listed:
        return False
    # transformers 5 writes how the tokenizer was built, and another name for the general class; a folder may join its
    # weights with an older tokenizer.
    by_four = bool(saved) and ("backend" not in saved or named == "PreTrainedTokenizerFast")
    return by_four or not str(config.transformers_version).startswith("5.")


def _was_right(tokenizer: PreTrainedTokenizerBase, config: PreTrainedConfig, saved: dict[str, Any]) -> bool:
    """True where segments were put right before `guards` were counted, so that cached labels are right."""
    return (
        type(tokenizer).__name__ == "AlbertTokenizer"
        and (_rows(config) or 0) > 1
        and not str(config.transformers_version).startswith("5.")
    )


def _name_inputs(
    tokenizer: PreTrainedTokenizerBase,
    names: list[str],
    config: PreTrainedConfig,
    *,
    like_albert: bool,
    shown: str,
    reads: Reads,
) -> None:
    """Let a tokenizer give these inputs, and write them when it is saved.

    Raises:
        InputError: its segments are not the model's.
    """
    before = list(tokenizer.model_input_names)
    if names != before:
        tokenizer.model_input_names = names
        tokenizer.init_kwargs["model_input_names"] = names
    if SEGMENTS in names:
        if SEGMENTS not in before and getattr(tokenizer, "token_type_ids_pattern", None) == "all_zeros":
            # Tokenizers written in Python count by this pattern; version 4 knew one way only.
            tokenizer.token_type_ids_pattern = tokenizer.init_kwargs["token_type_ids_pattern"] = "bert_style"
        with reads():
            alone, pair = tokenizer(_PAIR[0])[SEGMENTS], tokenizer(*_PAIR)[SEGMENTS]
        rows = _rows(config)
        if rows and max(*alone, *pair) >= rows:
            raise InputError(
                f"{shown}: its tokenizer gives segments up to {max(*alone, *pair)}, its model has {rows}; is it the "
                "tokenizer of another model? If the model was trained without segments, leave token_type_ids out of "
                "model_input_names in tokenizer_config.json"
            )
        if SEGMENTS not in before and getattr(tokenizer, "backend_tokenizer", None) is None and not any(pair):
            raise InputError(
                f"{shown}: its model was trained with segments for two texts (token_type_ids), and its tokenizer, "
                f"{type(tokenizer).__name__}, gives none; save it as a tokenizer.json whose template says $B:1"
            )
        if SEGMENTS not in before and not like_albert:
            alone_too = any(alone) or (config.model_type in _WITHOUT_SIZE and config.model_type != "funnel")
            remember(tokenizer, SEGMENTED if alone_too else PAIRS_SEGMENTED)
            logger.info("%s: its tokenizer gives segments again, with which the model was trained", shown)
    if "attention_mask" in names and "attention_mask" not in before:
        remember(tokenizer, PADDED)

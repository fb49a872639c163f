"""Tokenizers that say which of two texts a token is of, for students whose teacher's tokenizer does not.

RoBERTa's and MPNet's tokenizers give no ``token_type_ids``, because their models take none. A student that compares two
texts needs them. Only fast tokenizers with a known template can be given them.
"""

from __future__ import annotations

import json
from typing import Any

from tokenizers import Tokenizer
from transformers import PreTrainedTokenizerFast
from transformers.tokenization_utils_base import PreTrainedTokenizerBase

from zskd.models.tokenizers import SEGMENTS

_PAIR = ("one of them", "and another")


def gives_segments(tokenizer: PreTrainedTokenizerBase) -> bool:
    """Whether a tokenizer tells two texts apart by ``token_type_ids``."""
    return SEGMENTS in tokenizer.model_input_names and any(tokenizer(*_PAIR)[SEGMENTS])


def with_segments(tokenizer: PreTrainedTokenizerBase) -> PreTrainedTokenizerBase:
    """A tokenizer of the same ids whose second text, and what follows it, is of segment 1.

    It is saved as a general fast tokenizer, because transformers 5 builds the classes of some families anew and would
    leave the segments out.

    Returns:
        `tokenizer` itself if it tells two texts apart already, or cannot be made to.
    """
    if gives_segments(tokenizer):
        return tokenizer
    backend = getattr(tokenizer, "backend_tokenizer", None)
    if not isinstance(backend, Tokenizer):
        return tokenizer
    state = json.loads(backend.to_str())
    processor = _segmented(state["post_processor"])
    if processor is None:
        return tokenizer
    made = PreTrainedTokenizerFast(
        tokenizer_object=Tokenizer.from_str(json.dumps({**state, "post_processor": processor})),
        model_input_names=["input_ids", SEGMENTS, "attention_mask"],
        model_max_length=tokenizer.model_max_length,
        padding_side=tokenizer.padding_side,
        truncation_side=tokenizer.truncation_side,
        **{name: value for name, value in tokenizer.special_tokens_map.items() if isinstance(value, str)},
    )
    if more := [token for token in tokenizer.all_special_tokens if token not in made.all_special_tokens]:
        made.add_special_tokens({"additional_special_tokens": more})
    same = all(made(*texts)["input_ids"] == tokenizer(*texts)["input_ids"] for texts in (_PAIR, _PAIR[:1]))
    return made if same and gives_segments(made) else tokenizer


def _segmented(processor: dict[str, Any] | None) -> dict[str, Any] | None:
    """A post-processor, as the tokenizers library writes it, with segments; None where it has no template."""
    kind = None if processor is None else processor["type"]
    if processor is None or kind not in ("RobertaProcessing", "TemplateProcessing", "Sequence"):
        return None
    if kind == "Sequence":
        found = [_segmented(part) or part for part in processor["processors"]]
        return None if found == processor["processors"] else {**processor, "processors": found}
    if kind == "RobertaProcessing":
        processor = _template(processor)
    pair, second = [], False
    for piece in processor["pair"]:
        name, content = next(iter(piece.items()))
        second = second or content["id"] == "B"
        pair.append({name: {**content, "type_id": int(second)}})
    return {**processor, "pair": pair}


def _template(roberta: dict[str, Any]) -> dict[str, Any]:
    """RoBERTa's post-processor as a template."""
    special = {
        token: {"id": token, "ids": [number], "tokens": [token]}
        for token, number in (roberta[name] for name in _AROUND)
    }
    begin, end = ({"SpecialToken": {"id": roberta[name][0], "type_id": 0}} for name in _AROUND)
    first, second = ({"Sequence": {"id": name, "type_id": 0}} for name in "AB")
    return {
        "type": "TemplateProcessing",
        "single": [begin, first, end],
        "pair": [begin, first, end, end, second, end],
        "special_tokens": special,
    }


_AROUND = ("cls", "sep")

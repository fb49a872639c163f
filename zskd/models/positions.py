"""How many tokens a model can read. Imports neither torch nor transformers."""

from __future__ import annotations

from typing import Any

# Families that count positions from the padding id on, so that 514 rows are 512 positions.
_OFFSET = (
    "camembert", "data2vec-text", "esm", "ibert", "layoutlmv3", "lilt", "longformer", "luke", "markuplm", "mpnet",
    "roberta", "roberta-prelayernorm", "xlm-roberta", "xlm-roberta-xl", "xmod",
)  # fmt: skip


# Families whose table of positions has a name of its own in ``config.json``.
_N_POSITIONS = ("codegen", "ctrl", "gpt2", "gpt_bigcode", "gptj", "openai-gpt")
# Families without a table where ``position_biased_input`` is false: distances between tokens are all they know.
_DISTANCES = ("deberta", "deberta-v2")

UNLIMITED = 512  # tokens that a model without a limit of its own reads, unless ``--max-length`` says otherwise
_NO_LIMIT = 10**6  # transformers gives a tokenizer without a limit 10**30


def usable_positions(config: dict[str, Any]) -> int | None:
    """Tokens that a model's position table holds, from the content of its ``config.json``; None where it has none."""
    family = config.get("model_type")
    rows = config.get("n_positions" if family in _N_POSITIONS else "max_position_embeddings")
    if family in _DISTANCES and config.get("position_biased_input") is False:
        return None
    if not isinstance(rows, int) or rows <= 0:
        return None
    if family in _OFFSET:
        pad = 1 if family == "mpnet" else config.get("pad_token_id")  # MPNet's code has the number
        return rows - 1 - (pad if isinstance(pad, int) else 1)
    return rows


def tokenizer_limit(model_max_length: Any) -> int | None:
    """The limit that a tokenizer sets with ``model_max_length``; None where it sets none."""
    if (
        not isinstance(model_max_length, int | float)
        or model_max_length is True
        or not 0 < model_max_length < _NO_LIMIT
    ):
        return None
    return int(model_max_length)


def reading_length(config: dict[str, Any], model_max_length: Any) -> int:
    """Tokens of an input that a model reads: the one length that is used wherever none is asked for.

    It is the model's positions, or `UNLIMITED` where it has none, or its tokenizer's limit if that is lower.

    Args:
        config: content of the model's ``config.json``.
        model_max_length: of its tokenizer, as transformers or ``tokenizer_config.json`` has it.
    """
    limits = (usable_positions(config) or UNLIMITED, tokenizer_limit(model_max_length))
    return min(limit for limit in limits if limit is not None)


def length_problem(config: dict[str, Any], model_max_length: Any, shown: str, max_length: int) -> str | None:
    """What is wrong with reading inputs of ``max_length`` tokens: the positions are fewer, or the tokenizer's limit is.

    Args:
        config, model_max_length: as for `reading_length`.
        shown: flag and value to quote in the message.
    """
    positions, limit = usable_positions(config), tokenizer_limit(model_max_length)
    if positions is not None and positions < max_length and (limit is None or positions <= limit):
        return f"--max-length {max_length}: expected at most the {positions} positions of {shown}"
    if limit is not None and limit < max_length:
        return (
            f"--max-length {max_length}: expected at most the {limit} tokens that the tokenizer of {shown} allows "
            "(model_max_length in its tokenizer_config.json)"
        )
    return None

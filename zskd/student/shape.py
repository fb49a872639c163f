"""The shape of a student that is built: the largest within a budget of parameters."""

from __future__ import annotations

from typing import Any

import torch
from transformers import AutoModelForSequenceClassification, DebertaV2Config, ElectraConfig, PreTrainedConfig
from transformers.tokenization_utils_base import PreTrainedTokenizerBase

from zskd.errors import InputError
from zskd.models.loading import count_parameters
from zskd.models.positions import UNLIMITED
from zskd.models.tokenizers import SEGMENTS, gives_segments

POSITIONS = UNLIMITED
ENCODER_SHARE = 0.3  # of the budget; the embedding table gets the rest
HEAD_WIDTH = 24
DISTANCES = 16  # distance buckets between tokens in each direction: exact up to 9, then coarser, one from 27 on

# (largest budget in parameters, number of layers)
_DEPTHS = ((2.0e6, 2), (8.0e6, 3), (float("inf"), 4))


def _architecture(two: bool, **shape: Any) -> PreTrainedConfig:
    """A configuration whose embedding table may be narrower than the layers; at this size the table dominates."""
    shape |= {
        "max_position_embeddings": POSITIONS,
        # The usual 0.02 is about 1/sqrt(768). In a layer of width 96, it would nearly block the signal at first.
        "initializer_range": shape["hidden_size"] ** -0.5,
        # A model this small underfits its inputs, so dropout only costs capacity (docs/measurements.md).
        "hidden_dropout_prob": 0.0,
        "attention_probs_dropout_prob": 0.0,
    }
    if two:
        # Two texts are compared by tokens that attend to similar tokens at any position (see `match_tokens`).
        return ElectraConfig(classifier_dropout=0.0, **shape)
    # How a word affects its neighbours ("not good") is learned sooner from the distance between tokens than from their
    # absolute positions (docs/measurements.md).
    return DebertaV2Config(
        relative_attention=True,
        pos_att_type=["c2p", "p2c"],
        share_att_key=True,
        position_buckets=DISTANCES,
        max_relative_positions=2 * DISTANCES,
        norm_rel_ebd="layer_norm",
        position_biased_input=False,
        **shape,
    )


def student_config(
    vocab_size: int,
    budget: int,
    *,
    two: bool,
    labels: dict[str, Any],
    special: dict[str, int | None] | None = None,
    shown: str = "--compression",
    advice: str = "allow more, or name a --student",
) -> PreTrainedConfig:
    """Configuration of the largest student with at most `budget` parameters for a vocabulary.

    The architecture is DeBERTa-v2 for one text and ELECTRA for two. About `ENCODER_SHARE` of the budget goes to layers.

    Args:
        budget: parameters, those of the head included.
        two: whether the student compares two texts.
        labels: `label_config` of a task.
        special: further values of the configuration, such as `special_values`.
        shown: flag that the budget comes from, for messages.
        advice: what to do where it is too small.

    Raises:
        InputError: the vocabulary alone exceeds the budget.
    """
    depth = next(layers for limit, layers in _DEPTHS if budget <= limit)

    def shape(embedding: int, width: int) -> PreTrainedConfig:
        return _architecture(
            two,
            vocab_size=vocab_size,
            embedding_size=embedding,
            hidden_size=width,
            num_hidden_layers=depth,
            num_attention_heads=width // HEAD_WIDTH,
            intermediate_size=3 * width,
            **labels,
            **(special or {}),
        )

    def size(config: PreTrainedConfig) -> int:
        with torch.device("meta"):
            return count_parameters(AutoModelForSequenceClassification.from_config(config, trust_remote_code=False))

    width = HEAD_WIDTH
    while size(shape(1, width + HEAD_WIDTH)) - vocab_size <= ENCODER_SHARE * budget:
        width += HEAD_WIDTH
    base, slope = size(shape(1, width)), size(shape(2, width)) - size(shape(1, width))
    embedding = min(width - 1, 1 + (budget - base) // slope)
    if embedding < 4:
        raise InputError(
            f"{shown}: a budget of {budget:,} parameters does not hold a vocabulary of {vocab_size:,} tokens; {advice}"
        )
    return shape(int(embedding), width)


def special_values(tokenizer: PreTrainedTokenizerBase, *, two: bool) -> dict[str, int | None]:
    """Values of a configuration that follow from the tokenizer: ids of special tokens, number of segments."""
    found = {name: getattr(tokenizer, name) for name in ("pad_token_id", "bos_token_id", "eos_token_id")}
    if two and gives_segments(tokenizer, 2):  # XLNet has three
        found["type_vocab_size"] = max(2, 1 + max(tokenizer("one of them", "and another")[SEGMENTS]))
    return found

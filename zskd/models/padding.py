"""Padding that changes nothing: a text has the same logits alone and in a batch of longer ones."""

from __future__ import annotations

import inspect
import logging
from collections.abc import Iterator

import torch
from transformers import PreTrainedModel
from transformers.tokenization_utils_base import PreTrainedTokenizerBase

from zskd.errors import InputError
from zskd.models.positions import reading_length
from zskd.models.reading import reading
from zskd.models.tokenizers import PADDED, UNPADDED, remember

logger = logging.getLogger(__name__)

# Families that mix neighbouring tokens, or all of them, besides their masked attention; they may read padding.
_MIXING = {"big_bird", "convbert", "fnet", "mobilebert", "nystromformer", "yoso"}

_TEXTS = ("one of them", "the second text is longer than the first by a few words", "two")


def fit_padding(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, *, shown: str) -> None:
    """Choose padding token and side with which a model reads a text in a batch as it reads it alone.

    Nothing is done for a tokenizer that pads on the right with the token that the model's configuration names, and
    gives an attention mask, as most do. For the others the model is asked: what is in the folder comes first, then the
    other side, then another padding token. A padding token that is missing is the end token or, where texts end with
    it, the token for unknown words. What is chosen is written into the tokenizer and into the model's configuration, so
    that a saved model pads in the same way elsewhere. Where a family reads padding despite the mask, as ConvBERT's
    convolutions do, it is asked in batches of one length (`zskd.models.tokenizers.UNPADDED`); training pads.

    Args:
        shown: flag and value to quote in messages.

    Raises:
        InputError: no choice gives the logits of the text alone.
    """
    named, own = getattr(model.config, "pad_token_id", None), tokenizer.pad_token
    usual = own is not None and tokenizer.padding_side == "right" and named == tokenizer.pad_token_id
    # XLNet reads the last token, padding or not; FNet has no mask.
    reads_padding = getattr(model.config, "summary_type", "first") != "first" or model.config.model_type in _MIXING
    # BART and T5 look for the end token, which is no padding.
    reads_padding |= model.config.is_encoder_decoder and named == model.config.eos_token_id
    masked = "attention_mask" in inspect.signature(type(model).forward).parameters
    if usual and masked and not reads_padding and "attention_mask" in tokenizer.model_input_names:
        return
    side = tokenizer.padding_side
    ids = [tokenizer(text)["input_ids"] for text in _TEXTS]
    if min(len(row) for row in ids) == max(len(row) for row in ids):
        raise InputError(f"{shown}: its tokenizer gives every text {len(ids[0])} tokens; use one that pads nothing")
    alone = torch.cat([_logits(model, tokenizer, [text], shown) for text in _TEXTS])
    for token, index, at in _choices(tokenizer, named, side):
        tokenizer.pad_token, tokenizer.padding_side, model.config.pad_token_id = token, at, index
        if _fits(model, tokenizer, alone, shown):
            break
    else:
        tokenizer.pad_token, tokenizer.padding_side, model.config.pad_token_id = own, side, named
        if not (
            masked
            and model.config.model_type in _MIXING
            and own is not None
            and _fits_unpadded(model, tokenizer, shown)
        ):
            raise InputError(_refusal(model, tokenizer, shown))
        remember(tokenizer, UNPADDED)
        logger.info("%s: its family (%s) reads padding; it is asked in batches of one length, without any, and trained "
                    "in padded ones", shown, model.config.model_type)  # fmt: skip
        return
    if own is None:
        logger.info("%s: no padding token is named; its tokenizer pads with %s from now on", shown, token)
    elif (at, index) != (side, named) and (at != side or named is not None):
        remember(tokenizer, PADDED)
        logger.warning("%s: a batch was read otherwise than its texts alone; it is padded with %s on the %s now",
                       shown, token, at)  # fmt: skip
    if at != side:
        tokenizer.init_kwargs["padding_side"] = at


def check_answers(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, *, shown: str) -> None:
    """Check that a model answers, and with numbers; not every value in its configuration or files lets it do so.

    Raises:
        InputError: it does not; the message says what is raised, or how many answers are no numbers.
    """
    found = _logits(model, tokenizer, list(_TEXTS), shown).isfinite().all(dim=-1)
    if wrong := int((~found).sum()):
        raise InputError(
            f"{shown}: expected finite answers, found NaN or infinity for {wrong} of {len(_TEXTS)} texts; are its "
            "weights sound?"
        )


def _choices(tokenizer: PreTrainedTokenizerBase, named: int | None, side: str) -> Iterator[tuple[str, int | None, str]]:
    """Padding token, the configuration's ``pad_token_id`` and side, the least change first."""
    tokens = [tokenizer.pad_token] if tokenizer.pad_token is not None else []
    special = dict(zip(tokenizer.all_special_tokens, tokenizer.all_special_ids, strict=True))
    tokens += [token for token, index in special.items() if index == named]
    if tokenizer.pad_token is None:
        tokens += [token for token in (tokenizer.eos_token, tokenizer.unk_token, tokenizer.bos_token) if token]
    for token in dict.fromkeys(tokens):
        index = tokenizer.convert_tokens_to_ids(token)
        for at in (side, "left" if side == "right" else "right"):
            if tokenizer.pad_token is not None and named is not None and named != index:
                yield token, named, at
            yield token, index, at


def _fits(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, alone: torch.Tensor, shown: str) -> bool:
    """Whether texts have these logits alone and in a batch."""
    try:
        again = torch.cat([_logits(model, tokenizer, [text], shown) for text in _TEXTS])
        together = _logits(model, tokenizer, list(_TEXTS), shown)
    # BART and T5 count the end tokens of every text, and padding with it adds some; an id may have no row.
    except InputError:
        return False
    return _equal(again, alone) and _equal(together, alone)


def _fits_unpadded(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, shown: str) -> bool:
    """Whether a text has the same logits every time, alone and beside one of its length."""
    alone = _logits(model, tokenizer, [_TEXTS[1]], shown)
    return _equal(_logits(model, tokenizer, [_TEXTS[1]] * 2, shown), torch.cat([alone] * 2))


def _logits(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, texts: list[str], shown: str) -> torch.Tensor:
    """The model's logits (number of texts, classes); whatever it raises is the folder's fault."""
    length = reading_length(model.config.to_dict(), tokenizer.model_max_length)
    training = model.training
    with reading(shown, "the model does not answer"), torch.inference_mode():
        batch = tokenizer(texts, padding=len(texts) > 1, truncation=True, max_length=length, return_tensors="pt")
        found: torch.Tensor = model.eval()(**batch.to(model.device)).logits.float()
    model.train(training)
    return found


def _equal(one: torch.Tensor, other: torch.Tensor) -> bool:
    tolerance = 2e-5 * max(1.0, float(other.abs().max()))
    return one.shape == other.shape and torch.allclose(one, other, rtol=1e-4, atol=tolerance)


def _refusal(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, shown: str) -> str:
    if tokenizer.pad_token is None:
        return (
            f"{shown}: its tokenizer has no padding token, and its end token cannot be one, because texts end with it; "
            "set a pad_token that no text contains in tokenizer_config.json, and its id as pad_token_id in config.json"
        )
    return (
        f"{shown}: expected the same logits for a text alone and in a batch, found others with the padding token "
        f"{tokenizer.pad_token} on either side ({model.config.model_type}); if padding cannot be masked, as with "
        "summary_type mean, the model cannot be read in batches"
    )

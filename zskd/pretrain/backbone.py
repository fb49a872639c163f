"""The backbone of a start: a base model that answers with its last hidden state for every token."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path

import torch
from transformers import PreTrainedModel
from transformers.tokenization_utils_base import PreTrainedTokenizerBase

from zskd.errors import InputError
from zskd.models.fast_layers import fast_copy
from zskd.models.frozen import with_half_weights
from zskd.models.loading import backbone_origin, count_parameters, find_model, load_head, model_fingerprint
from zskd.models.positions import length_problem
from zskd.models.segments import with_segments
from zskd.models.tokenizers import UNPADDED, guards, load_tokenizer, tokenizer_fingerprint
from zskd.system.precision import HALVES, autocast, pick_precision
from zskd.teacher.classifier import check_fit, pick_device
from zskd.training.forward import model_inputs

# The head is dropped; it is there because the weights of a folder are checked as those of a classifier.
_HEAD = {"num_labels": 2, "id2label": {0: "0", 1: "1"}, "label2id": {"0": 0, "1": 1}}


@dataclass(frozen=True)
class LoadedBackbone:
    """A frozen base model.

    Attributes:
        name: as it was asked for.
        revision: commit on the Hub, None for a folder or ``embedded``.
        model: as it computes here, in `precision`.
        parameters: of the base model, those of its pooler included.
        fingerprint: SHA-256 over its weights, without those that its files lack.
        tokenizer: the start's, which gives the same ids as its own.
        tokenizer_fingerprint: SHA-256 over the tokenizer.
        precision: in which it answers.
        reads: names of the inputs that it takes.
    """

    name: str
    revision: str | None
    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase
    parameters: int
    fingerprint: str
    tokenizer_fingerprint: str
    precision: str
    reads: tuple[str, ...]

    @torch.no_grad()
    def states(self, batch: dict[str, torch.Tensor]) -> torch.Tensor:
        """Last hidden states ``(batch, tokens, hidden)`` float32 of a padded batch; may be called in any thread."""
        with autocast(self.model.device.type, self.precision):
            output = self.model(**{name: batch[name] for name in self.reads if name in batch})
        states: torch.Tensor = output.last_hidden_state.float()
        return states


def load_backbone(
    name: str, revision: str | None, precision: str, max_length: int, cache: Path, *, two: bool
) -> LoadedBackbone:
    """Load a backbone on this process's device.

    Args:
        name: ``embedded``, ``embedded-base``, a folder or a Hub id.
        precision: as the option says, ``auto`` included.
        max_length: tokens that it will read.
        two: whether the start will compare two texts, and its tokenizer has to tell them apart.

    Raises:
        InputError: it does not load, cannot read `max_length` tokens, or cannot be padded on the right.
    """
    flag, shown = "--backbone", f"--backbone {name}"
    origin = find_model(name, revision, flag=flag) if revision else backbone_origin(name, cache, flag=flag)
    classifier, new = load_head(origin, flag=flag, new_head=_HEAD, level=logging.DEBUG)
    tokenizer = load_tokenizer(origin, flag=flag)
    check_fit(classifier, tokenizer, shown=shown)
    if problem := length_problem(classifier.config.to_dict(), tokenizer.model_max_length, shown, max_length):
        raise InputError(problem)
    if UNPADDED in guards(tokenizer) or tokenizer.padding_side == "left":
        raise InputError(
            f"{shown}: expected a model whose texts are padded on the right, found one that reads padding or is padded "
            "on the left; name another backbone"
        )
    reads = model_inputs(classifier.base_model, tokenizer)
    if two:
        tokenizer = with_segments(tokenizer)
    device = pick_device()
    base: PreTrainedModel = classifier.base_model.requires_grad_(False).eval().to(device)
    chosen = pick_precision(precision, device)
    prefix = f"{classifier.base_model_prefix}."
    backbone = LoadedBackbone(
        name=name,
        revision=origin.revision,
        model=fast_copy(with_half_weights(base, HALVES[chosen]) if chosen in HALVES else base),
        tokenizer=tokenizer,
        parameters=count_parameters(base),
        fingerprint=model_fingerprint(base, without=[one.removeprefix(prefix) for one in new]),
        tokenizer_fingerprint=tokenizer_fingerprint(tokenizer),
        precision=chosen,
        reads=reads,
    )
    _check_states(backbone, shown)
    return backbone


def _check_states(backbone: LoadedBackbone, shown: str) -> None:
    """Refuse a model that does not give one state for each token, by asking it."""
    config = backbone.model.config
    problem = "an encoder with a decoder" if getattr(config, "is_encoder_decoder", False) else None
    if problem is None:
        batch = backbone.tokenizer(["a text", "another text"], padding=True, return_tensors="pt")
        ids = batch["input_ids"]
        states = backbone.states({name: value.to(backbone.model.device) for name, value in batch.items()})
        if states.shape[:2] != ids.shape:
            problem = f"one that gives states {tuple(states.shape)} for tokens {tuple(ids.shape)}"
    if problem is not None:
        raise InputError(f"{shown}: expected a model with one state for each token, found {problem}; name another one")

"""The generator: a masked language model that fills masked positions of a sentence.

It comes from the Hub or a folder, or is built from the teacher's first layers. Only masked positions are passed through
its head, whose output is as wide as the vocabulary.
"""

from __future__ import annotations

import re
from collections.abc import Callable

import torch
from transformers import AutoConfig, AutoModelForMaskedLM, PreTrainedModel
from transformers.tokenization_utils_base import PreTrainedTokenizerBase

from zskd.errors import InputError
from zskd.models.loading import find_model
from zskd.models.quiet import quiet_transformers
from zskd.models.reading import reading
from zskd.models.tokenizers import load_tokenizer
from zskd.models.weights import load_checked
from zskd.system.seeds import Stream, seed_of
from zskd.teacher.base import Teacher

LAYERS = 2  # of the teacher, for a built generator

_UNUSED = re.compile(r"[\[<](unused|extra_id|madeupword)_?\d*[\]>]")

# The head after the encoder, by model type: states ``(positions, hidden)`` to logits ``(positions, vocabulary)``.
_HEADS: dict[str, Callable[[PreTrainedModel, torch.Tensor], torch.Tensor]] = {
    "albert": lambda model, states: model.predictions(states),
    "bert": lambda model, states: model.cls(states),
    "distilbert": lambda model, states: model.vocab_projector(
        model.vocab_layer_norm(model.activation(model.vocab_transform(states)))
    ),
    "electra": lambda model, states: model.generator_lm_head(model.generator_predictions(states)),
    "roberta": lambda model, states: model.lm_head(states),
}


def check_generator(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, *, shown: str) -> None:
    """Check that a model can serve as the generator.

    Raises:
        InputError: its architecture is not supported, or its tokenizer has no mask token.
    """
    if model.config.model_type not in _HEADS:
        raise InputError(
            f"{shown}: expected a masked language model of one of the types {', '.join(sorted(_HEADS))}, "
            f"found {model.config.model_type}"
        )
    if tokenizer.mask_token_id is None:
        raise InputError(f"{shown}: expected a tokenizer with a mask token, found none")


def build_generator(teacher: Teacher, layers: int = LAYERS) -> PreTrainedModel:
    """A masked language model of the teacher's embeddings and first layers, with a head that starts at random.

    Its output layer shares the embedding table. It needs `zskd.methods.adversarial.warmup` before its words make sense;
    ``zskd.Adversarial(options=...)`` in `zskd.distill` builds and warms up its own.

    Args:
        teacher: one with weights.
        layers: how many of its first layers are copied.

    Returns:
        The model in float32.

    Raises:
        InputError: the teacher has no weights, or its architecture has no masked language model here.

    Example:
        `teacher` is a loaded BERT classifier.

        >>> build_generator(teacher, layers=1).config.num_hidden_layers
        1
    """
    classifier = teacher.require_weights("generator build")
    check_generator(classifier.model, classifier.tokenizer, shown="a generator built from the teacher")
    config = AutoConfig.for_model(**classifier.model.config.to_dict())
    config.num_hidden_layers = min(layers, config.num_hidden_layers)
    with quiet_transformers(), torch.random.fork_rng():
        # The same head whatever the run's seed, so that its warm-up is found in the cache.
        torch.manual_seed(seed_of(Stream.GENERATOR))
        model: PreTrainedModel = AutoModelForMaskedLM.from_config(config, trust_remote_code=False)
    kept = model.base_model.state_dict()
    weights = classifier.model.base_model.state_dict()
    missing = sorted(set(kept) - set(weights))
    if missing:
        raise InputError(f"a generator built from the teacher: the teacher has no weights {', '.join(missing[:4])}")
    model.base_model.load_state_dict({name: weights[name] for name in kept})
    model.tie_weights()
    return model.float()


def load_generator(name: str, revision: str | None = None) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """A masked language model from a folder or the Hub, in float32, and its tokenizer.

    Raises:
        InputError: it does not load, or `check_generator` refuses it.
    """
    origin = find_model(name, revision, flag="--generator")
    model, _ = load_checked(AutoModelForMaskedLM, origin.name, flag="--generator", **origin.arguments)
    tokenizer = load_tokenizer(origin, flag="--generator")
    check_generator(model, tokenizer, shown=f"--generator {origin.name}")
    with reading(f"--generator {origin.name}", "the model does not answer"), torch.inference_mode():
        batch = tokenizer("one of them", return_tensors="pt")
        model(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"])
    return model, tokenizer


def usable_tokens(tokenizer: PreTrainedTokenizerBase, size: int) -> torch.Tensor:
    """Mask ``(size,)`` bool of token ids that a generator may write; special, unused and unassigned ids are False.

    Args:
        size: width of the generator's output.
    """
    usable = torch.zeros(size, dtype=torch.bool)
    special = set(tokenizer.all_special_ids)
    for token, index in tokenizer.get_vocab().items():
        if index < size and index not in special and not _UNUSED.fullmatch(token):
            usable[index] = True
    return usable


def masked_logits(
    model: PreTrainedModel, inputs: dict[str, torch.Tensor], rows: torch.Tensor, columns: torch.Tensor
) -> torch.Tensor:
    """The generator's logits ``(positions, vocabulary)`` at some positions of a batch, float32.

    Args:
        inputs: ``input_ids``, ``attention_mask`` and, for pairs, ``token_type_ids``, ``(batch, tokens)``.
        rows: ``(positions,)`` int64.
        columns: ``(positions,)`` int64.
    """
    if getattr(model.config, "type_vocab_size", 2) < 2 or model.config.model_type == "distilbert":
        inputs = {name: value for name, value in inputs.items() if name != "token_type_ids"}
    states = model.base_model(**inputs).last_hidden_state[rows, columns]
    return _HEADS[model.config.model_type](model, states).float()

"""What a student's word embeddings start from: the fine-tuned teacher's reaction to every single token.

Each token of the vocabulary is shown to the teacher alone, between the special tokens. The response (centred
logits) says what the token means for the task; the contextual state at its position says what it means at
all. The response takes the leading dimensions, the principal components of the states the others.
"""

from __future__ import annotations

import contextlib
import hashlib
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from zskd.batching import token_batches
from zskd.files import replacing
from zskd.models.classifier import Classifier

# Raise it when the same teacher would give other features.
FORMAT = 1

RESPONSE_SCALE = 2.0  # standard deviation of the response's dimensions, where a state's leading one has 1


@torch.inference_mode()
def token_reactions(teacher: Classifier, precision: str = "fp32") -> tuple[torch.Tensor, torch.Tensor]:
    """States ``(vocab, hidden)`` and logits ``(vocab, num_labels)`` of the teacher for each single token, float32.

    Args:
        precision: ``fp32``, or ``bf16`` for autocast.
    """
    tokenizer, model = teacher.tokenizer, teacher.model
    template = tokenizer("a", truncation=True, max_length=8)["input_ids"]
    (position,) = [i for i, token in enumerate(template) if token not in tokenizer.all_special_ids]
    ids = torch.tensor(template).repeat(len(tokenizer), 1)
    ids[:, position] = torch.arange(len(tokenizer))
    states, logits = [], []
    for batch in token_batches([len(template)] * len(tokenizer)):
        inputs = ids[batch].to(model.device)
        with torch.autocast(inputs.device.type, torch.bfloat16, enabled=precision == "bf16"):
            output = model(input_ids=inputs, attention_mask=torch.ones_like(inputs), output_hidden_states=True)
        states.append(output.hidden_states[-1][:, position].float().cpu())
        logits.append(output.logits.float().cpu())
    return torch.cat(states), torch.cat(logits)


def principal_components(rows: torch.Tensor, count: int) -> torch.Tensor:
    """Projections ``(rows, count)`` of centred rows on their leading principal directions.

    Signs are fixed (the largest weight of a direction is positive), so that the result does not depend on the
    solver's mood.
    """
    centred = (rows - rows.mean(dim=0)).double()
    _, vectors = torch.linalg.eigh(centred.T @ centred)
    directions = vectors.flip(1)[:, :count]
    largest = directions.abs().argmax(dim=0)
    directions = directions * directions[largest, torch.arange(directions.shape[1])].sign()
    return (centred @ directions).float()


def word_features(teacher: Classifier, width: int, precision: str = "fp32") -> torch.Tensor:
    """Initial word embeddings ``(vocab, width)`` of a student that shares the teacher's vocabulary, float32."""
    states, logits = token_reactions(teacher, precision)
    leading = min(logits.shape[1] - 1, width)
    response = principal_components(logits, leading)
    response = RESPONSE_SCALE * response / response.std(dim=0)
    components = principal_components(states, width - leading)
    if components.shape[1]:
        components = components / components[:, 0].std()
    return torch.cat([response, components], dim=1)


def cached_word_features(teacher: Classifier, width: int, precision: str, cache: Path) -> tuple[torch.Tensor, int]:
    """`word_features` from the cache, or computed and kept there.

    Returns:
        The features, and the number of single tokens the teacher was asked for now (0 from the cache).
    """
    key = repr((FORMAT, teacher.fingerprint, teacher.tokenizer_fingerprint, width, precision, RESPONSE_SCALE))
    path = cache / "words" / f"{hashlib.sha256(key.encode()).hexdigest()}.safetensors"
    if path.is_file():
        with contextlib.suppress(SafetensorError):  # a damaged file is written anew
            return load_file(path)["features"], 0
    features = word_features(teacher, width, precision)
    with replacing(path) as temporary:
        save_file({"features": features}, temporary)
    return features, len(features)

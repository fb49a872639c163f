"""The initial weights of a built student.

Word embeddings start from the teacher's reaction to every single token. Each token of the vocabulary is shown to the
teacher alone, between the special tokens. The response (centred logits) tells what the token means for the task. The
contextual state at the token's position tells what it means in general. The leading dimensions hold the response, the
others hold principal components of the states.

For tasks with two texts, the first attention layer starts by comparing tokens (`match_tokens`).
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path

import torch
from accelerate import PartialState
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from transformers import ElectraModel, PreTrainedModel
from transformers.tokenization_utils_base import PreTrainedTokenizerBase

from zskd.models.batching import token_batches, token_budget
from zskd.models.tokenizers import SEGMENTS, gives_segments
from zskd.models.vocabulary import vocabulary_size
from zskd.system.checksums import keep, known_digest
from zskd.system.precision import autocast, check_finite
from zskd.system.progress import bar
from zskd.teacher.classifier import Classifier

# Increase it when the same teacher would give other features.
FORMAT = 1

RESPONSE_SCALE = 2.0  # standard deviation of the response's dimensions; the leading state dimension has 1

MATCHING_SCALE = 2.5  # scale of the first layer's query and key maps in a student of two texts


def match_tokens(model: ElectraModel) -> None:
    """Initialise the first attention layer as a comparison of the two texts, using the global generator.

    The first layer's query and key maps become the same multiple of one rotation, so that a token attends to tokens
    with a similar embedding: itself, and its counterpart in the other text if there is one. The segment embeddings of
    the two texts become opposites, so that the attended values show whether a token was matched. A student of this size
    does not learn that comparison from random maps on shaped pairs (docs/measurements.md).
    """
    with torch.no_grad():
        attention = model.encoder.layer[0].attention.self
        torch.nn.init.orthogonal_(attention.query.weight, gain=MATCHING_SCALE)
        attention.key.weight.copy_(attention.query.weight)
        segments = model.embeddings.token_type_embeddings.weight
        direction = torch.nn.functional.normalize(torch.randn(segments.shape[1]), dim=0)
        segments[:2] = torch.stack([direction, -direction])  # XLNet counts its last token as a third


def token_reactions(teacher: Classifier, precision: str = "fp32") -> tuple[torch.Tensor, torch.Tensor]:
    """States ``(vocab, hidden)`` and logits ``(vocab, num_labels)`` of the teacher for each single token, float32.

    Args:
        precision: ``fp32``, or one of `zskd.system.precision.HALVES` for autocast.

    Raises:
        InputError: some values are NaN or infinite.
    """
    states, logits = single_tokens(teacher.model, teacher.tokenizer, teacher.name, precision, "teacher")
    assert logits is not None
    return states, logits


@torch.inference_mode()
def single_tokens(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, name: str, precision: str, role: str
) -> tuple[torch.Tensor, torch.Tensor | None]:
    """Last hidden states ``(vocab, hidden)`` of a model for each single token, and a classifier's logits, float32.

    Args:
        name: of the model, for messages.
        role: what the progress bar calls it.

    Raises:
        InputError: some values are NaN or infinite.
    """
    # The special tokens that the tokenizer puts around a text; "a" itself may be one piece or several, or, where the
    # vocabulary is that of another script, unknown.
    encoded = tokenizer("a", truncation=True, max_length=8)
    around = encoded["input_ids"]
    inner = [i for i, token in enumerate(around) if token not in tokenizer.all_special_ids]
    inner = inner or [i for i, token in enumerate(around) if token == tokenizer.unk_token_id]
    position = inner[0]
    template = [*around[: position + 1], *around[inner[-1] + 1 :]]
    more = {}
    if gives_segments(tokenizer, texts=1):  # of one text, most tokenizers' say nothing
        segments = encoded[SEGMENTS]
        more[SEGMENTS] = torch.tensor([[*segments[: position + 1], *segments[inner[-1] + 1 :]]]).to(model.device)
    size = vocabulary_size(tokenizer)
    ids = torch.tensor(template).repeat(size, 1)
    ids[:, position] = torch.arange(size)
    states: list[torch.Tensor] = []
    logits: list[torch.Tensor] = []
    batches = token_batches([len(template)] * size, token_budget(model.device.type))
    with bar(f"{role} answers single tokens", size, "token") as progress:
        for batch in batches:
            inputs = ids[batch].to(model.device)
            with autocast(inputs.device.type, precision):
                output = model(
                    input_ids=inputs,
                    attention_mask=torch.ones_like(inputs),
                    output_hidden_states=True,
                    **{name: row.expand_as(inputs) for name, row in more.items()},
                )
            states.append(output.hidden_states[-1][:, position].float().cpu())
            if "logits" in output:
                logits.append(output.logits.float().cpu())
            progress.update(len(batch))
    # The last batch is filled up with repeated rows.
    found = torch.cat(states)[:size], torch.cat(logits)[:size] if logits else None
    for part in found:
        if part is not None:
            check_finite(part.numpy(), name, precision)
    return found


def principal_components(rows: torch.Tensor, count: int) -> torch.Tensor:
    """Projections ``(rows, count)`` of centred rows on their leading principal directions.

    The sign of a direction is fixed (its largest weight is positive), because the solver may return either sign.
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
    response = RESPONSE_SCALE * _response(logits, width)
    return torch.cat([response, state_components(states, width - response.shape[1])], dim=1)


def own_features(teacher: Classifier, width: int) -> torch.Tensor:
    """Principal components ``(vocab, at most width)`` of the teacher's own word embeddings; no query is needed."""
    table = teacher.model.get_input_embeddings().weight.detach().float().cpu()
    return state_components(table[: vocabulary_size(teacher.tokenizer)], width)


def _response(logits: torch.Tensor, width: int) -> torch.Tensor:
    """The leading dimensions of what logits say of tokens, one fewer than there are classes at most, of scale 1."""
    response = principal_components(logits, min(logits.shape[1] - 1, width))
    return response / response.std(dim=0)


def state_components(states: torch.Tensor, width: int) -> torch.Tensor:
    """Principal components ``(vocab, at most width)`` of states; the first has the standard deviation 1."""
    components = principal_components(states, width)
    return components / components[:, 0].std() if components.shape[1] else components


def cached_word_features(teacher: Classifier, width: int, precision: str, cache: Path) -> tuple[torch.Tensor, int]:
    """`word_features` from the cache; if they are missing or damaged, they are computed and stored there.

    Returns:
        The features, and the number of single tokens that the teacher was asked for in this run (0 from the cache).
    """
    return _cached(teacher, width, precision, cache, lambda: word_features(teacher, width, precision), ())


def cached_response(teacher: Classifier, width: int, precision: str, cache: Path) -> tuple[torch.Tensor, int]:
    """The teacher's response to single tokens, ``(vocab, at most width)`` float32, each dimension of scale 1.

    Returns:
        As `cached_word_features`.
    """

    def compute() -> torch.Tensor:
        return _response(token_reactions(teacher, precision)[1], width)

    return _cached(teacher, width, precision, cache, compute, ("response",))


def _cached(
    teacher: Classifier,
    width: int,
    precision: str,
    cache: Path,
    compute: Callable[[], torch.Tensor],
    kind: tuple[str, ...],
) -> tuple[torch.Tensor, int]:
    known = (FORMAT, teacher.fingerprint, teacher.tokenizer_fingerprint, width, precision, RESPONSE_SCALE, *kind)
    key = repr(known + ((teacher.guards,) if teacher.guards else ()))
    path = cache / "words" / f"{hashlib.sha256(key.encode()).hexdigest()}.safetensors"
    # The other processes come after the main one (`main_first`), which has looked at the file.
    if (path.is_file() and not PartialState().is_main_process) or known_digest(path, _is_sound) is not None:
        return load_file(path)["features"], 0
    features = compute()
    keep(path, lambda temporary: save_file({"features": features.contiguous()}, temporary))
    return features, len(features)


def _is_sound(path: Path) -> bool:
    try:
        return set(load_file(path)) == {"features"}
    except SafetensorError:
        return False

"""What a student's word embeddings start from: the fine-tuned teacher's reaction to every single token.

Each token of the vocabulary is shown to the teacher alone, between the special tokens. The response (centred
logits) says what the token means for the task; the contextual state at its position says what it means at
all. The response takes the leading dimensions, the principal components of the states the others.
"""

from __future__ import annotations

import torch

from zskd.batching import token_batches
from zskd.models.classifier import Classifier

RESPONSE_SCALE = 2.0  # standard deviation of the response's dimensions, where a state's leading one has 1


@torch.inference_mode()
def token_reactions(teacher: Classifier) -> tuple[torch.Tensor, torch.Tensor]:
    """States ``(vocab, hidden)`` and logits ``(vocab, num_labels)`` of the teacher for each single token, float32."""
    tokenizer, model = teacher.tokenizer, teacher.model
    template = tokenizer("a", truncation=True, max_length=8)["input_ids"]
    (position,) = [i for i, token in enumerate(template) if token not in tokenizer.all_special_ids]
    ids = torch.tensor(template).repeat(len(tokenizer), 1)
    ids[:, position] = torch.arange(len(tokenizer))
    states, logits = [], []
    for batch in token_batches([len(template)] * len(tokenizer)):
        inputs = ids[batch].to(model.device)
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


def word_features(teacher: Classifier, width: int) -> torch.Tensor:
    """Initial word embeddings ``(vocab, width)`` of a student that shares the teacher's vocabulary, float32."""
    states, logits = token_reactions(teacher)
    leading = min(logits.shape[1] - 1, width)
    response = principal_components(logits, leading)
    response = RESPONSE_SCALE * response / response.std(dim=0)
    components = principal_components(states, width - leading)
    if components.shape[1]:
        components = components / components[:, 0].std()
    return torch.cat([response, components], dim=1)

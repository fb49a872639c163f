"""Bulk inference without a cache: a classifier's answers for many texts, in batches of similar length."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from tqdm import tqdm
from transformers import BatchEncoding, PreTrainedModel
from transformers.tokenization_utils_base import PreTrainedTokenizerBase

from zskd.errors import InputError
from zskd.models.batching import each_in_a_thread, token_batches, token_budget
from zskd.models.tokenizers import UNPADDED, guards
from zskd.system.precision import autocast

Inputs = dict[str, torch.Tensor]


@dataclass
class Meter:
    """A progress bar over texts that also shows tokens per second, if tokens are counted."""

    bar: tqdm
    tokens: int = 0

    def count(self, texts: int) -> None:
        """Count texts whose tokens nobody here counts."""
        self.bar.update(texts)

    def advance(self, texts: int, tokens: int) -> None:
        """Count texts and tokens."""
        self.tokens += tokens
        speed = self.tokens / max(1e-9, self.bar.format_dict["elapsed"])
        self.bar.set_postfix_str(f"{speed:,.0f} tokens/s", refresh=False)
        self.bar.update(texts)


def infer(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    encoded: BatchEncoding,
    precision: str,
    meter: Meter | None = None,
) -> np.ndarray:
    """Logits ``(rows, num_labels)`` float32 of token ids without padding, in the model's own class order.

    Raises:
        InputError: the model answers with another number of columns than its configuration has classes.
    """

    def logits(inputs: Inputs) -> torch.Tensor:
        found: torch.Tensor = model(**inputs).logits
        return found

    return _in_batches(logits, model.config.num_labels, model, tokenizer, encoded, precision, meter)


def first_states(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    encoded: BatchEncoding,
    precision: str,
    meter: Meter | None = None,
) -> np.ndarray:
    """Last hidden state ``(rows, hidden)`` float32 at each text's first token, which is what BERT's pooler reads."""

    def states(inputs: Inputs) -> torch.Tensor:
        last: torch.Tensor = model.base_model(**inputs).last_hidden_state
        first = inputs["attention_mask"].argmax(dim=1)  # 0, except for tokenizers that pad on the left
        return last[torch.arange(len(last), device=last.device), first]

    return _in_batches(states, model.config.hidden_size, model, tokenizer, encoded, precision, meter)


def mean_states(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    encoded: BatchEncoding,
    precision: str,
    meter: Meter | None = None,
) -> np.ndarray:
    """Mean of the last hidden states ``(rows, hidden)`` float32 over each text's tokens.

    Where `encoded` has a ``special_tokens_mask``, special tokens do not count.
    """

    def states(inputs: Inputs) -> torch.Tensor:
        counted = inputs["attention_mask"]
        if (special := inputs.pop("special_tokens_mask", None)) is not None:
            counted = counted * (1 - special)
        last = model.base_model(**inputs).last_hidden_state.float()
        weights = counted[:, :, None].float()
        found: torch.Tensor = (last * weights).sum(dim=1) / weights.sum(dim=1).clamp(min=1)
        return found

    return _in_batches(states, model.config.hidden_size, model, tokenizer, encoded, precision, meter)


def _in_batches(
    asked: Callable[[Inputs], torch.Tensor],
    width: int,
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    encoded: BatchEncoding,
    precision: str,
    meter: Meter | None,
) -> np.ndarray:
    """Apply `asked` to padded batches of the rows; returns ``(rows, width)`` float32 in the order of the rows."""
    lengths = [len(ids) for ids in encoded["input_ids"]]
    device = model.device
    on_gpu = device.type == "cuda"
    complete = "attention_mask" in encoded

    def answer(batch: list[int]) -> tuple[list[int], torch.Tensor]:
        if complete and len({lengths[i] for i in batch}) == 1:  # most batches: `pad` would take its time for nothing
            inputs = {name: torch.tensor([encoded[name][i] for i in batch]) for name in encoded}
        else:
            rows = [{name: encoded[name][i] for name in encoded} for i in batch]
            inputs = dict(tokenizer.pad(rows, padding="longest", return_tensors="pt"))
        if on_gpu:  # pinned memory is copied while the GPU computes
            inputs = {name: value.pin_memory().to(device, non_blocking=True) for name, value in inputs.items()}
        with torch.inference_mode(), autocast(device.type, precision):
            return batch, asked(inputs).float()

    batches = token_batches(lengths, token_budget(device.type), padded=UNPADDED not in guards(tokenizer))
    order: list[int] = []
    answers: list[torch.Tensor] = []
    for batch, answered in map(answer, batches) if on_gpu else each_in_a_thread(answer, batches):
        answers.append(answered)  # fetched at the end, because waiting for each batch would leave a GPU idle
        order += batch
        if meter is not None:
            meter.advance(len(set(batch)), sum(lengths[i] for i in set(batch)))
    found = np.empty((len(lengths), width), dtype=np.float32)
    if order:
        answer_rows = torch.cat(answers).cpu().numpy()
        if answer_rows.shape[1:] != (width,):  # one column would be taken for every column
            raise InputError(
                f"{model.name_or_path or type(model).__name__}: expected {width} numbers for an input, as its config "
                f"says, found {answer_rows[0].size}; correct num_labels and id2label, or name another model"
            )
        found[order] = answer_rows
    return found

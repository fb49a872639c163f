"""What a model answers in bulk, in the order of the texts, and the bar that counts tokens."""

from __future__ import annotations

import io

import numpy as np
import pytest
import torch
from conftest import prose, tiny_bert, word_tokenizer
from tqdm import tqdm

from zskd.models import bulk
from zskd.models.bulk import Meter, first_states, infer, mean_states
from zskd.models.encoding import encode_texts
from zskd.system.progress import bar

TEXTS = [" ".join(line.split()[: 1 + i % 11]) for i, line in enumerate(prose(50))]


@pytest.mark.parametrize("ask", [infer, first_states])
def test_answers_are_in_the_order_of_the_texts_and_counted(ask, monkeypatch: pytest.MonkeyPatch) -> None:
    tokenizer = word_tokenizer(TEXTS)
    model = tiny_bert(len(tokenizer), ("a", "b", "c"))
    monkeypatch.setattr(bulk, "token_budget", lambda device: 40)
    encoded = encode_texts(tokenizer, (TEXTS,), 16)
    with bar("test", len(TEXTS), "text") as progress:
        meter = Meter(progress)
        found = ask(model, tokenizer, encoded, "fp32", meter)
        # The last batch repeats some rows, which are not counted twice.
        assert meter.tokens == sum(map(len, encoded["input_ids"]))
    assert found.dtype == np.float32 and len(found) == len(TEXTS)
    with torch.inference_mode():
        for row, text in zip(found, TEXTS, strict=True):
            inputs = tokenizer(text, return_tensors="pt")
            one = model(**inputs).logits[0] if ask is infer else model.bert(**inputs).last_hidden_state[0, 0]
            np.testing.assert_allclose(row, one.numpy(), atol=1e-5)


@pytest.mark.parametrize("inner", [False, True], ids=["all tokens", "without special ones"])
def test_means_are_over_the_tokens_of_each_text_alone(inner: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    tokenizer = word_tokenizer(TEXTS)
    model = tiny_bert(len(tokenizer), ("a", "b", "c"))
    monkeypatch.setattr(bulk, "token_budget", lambda device: 40)
    encoded = tokenizer(TEXTS, return_special_tokens_mask=inner)
    found = mean_states(model.bert, tokenizer, encoded, "fp32")
    assert found.dtype == np.float32 and len({len(ids) for ids in encoded["input_ids"]}) > 5
    with torch.inference_mode():
        for row, text in zip(found, TEXTS, strict=True):
            states = model.bert(**tokenizer(text, return_tensors="pt")).last_hidden_state[0]
            np.testing.assert_allclose(row, (states[1:-1] if inner else states).mean(dim=0).numpy(), atol=1e-5)


def test_a_bar_shows_tokens_only_where_they_are_counted() -> None:
    with tqdm(total=4, file=io.StringIO()) as progress:
        meter = Meter(progress)
        meter.count(2)
        assert not progress.postfix
        meter.advance(2, 30)
        assert progress.n == 4 and "tokens/s" in progress.postfix

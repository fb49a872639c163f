"""The student's forward pass: what it is shown, and what is done to its word embeddings, against hand computation."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch
from architectures import classifier
from conftest import tiny_bert
from transformers import PreTrainedModel

from zskd.training.forward import model_inputs, student_forward

NAMES = ("input_ids", "attention_mask", "token_type_ids")
MORE = {"teacher_logits": 1.0, "labels": 2.0, "gold_label": 3.0, "origin": 4.0, "weight": 5.0, "length": 6.0}


def batch(segments: bool = False) -> dict[str, torch.Tensor]:
    """Three rows of four, two and three tokens."""
    ids = torch.tensor([[2, 11, 12, 3], [2, 3, 0, 0], [2, 13, 3, 0]])
    found = {"input_ids": ids, "attention_mask": (ids != 0).long()}
    return {**found, "token_type_ids": (ids > 11).long()} if segments else found


def model() -> PreTrainedModel:
    return tiny_bert(20, ("a", "b", "c"), hidden=8)


def forward(student: Any, inputs: dict[str, torch.Tensor], **options: Any) -> Any:
    return student_forward(student, student, inputs, NAMES, **options)


class Spy(torch.nn.Module):
    """A student that keeps what it is shown."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: dict[str, Any] = {}

    def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor, labels: Any = None, **more: Any) -> Any:
        self.seen = {"labels": labels, **more}
        return SimpleNamespace(logits=input_ids.float())


@pytest.mark.parametrize("segments", [False, True])
def test_a_student_is_shown_its_inputs_and_nothing_else(segments: bool) -> None:
    student = Spy()
    inputs = {**batch(segments), **{name: torch.full((3,), value) for name, value in MORE.items()}}
    for tokenizer in (None, SimpleNamespace(model_input_names=["input_ids", "token_type_ids", "attention_mask"])):
        names = model_inputs(student, tokenizer)
        assert names == ("input_ids", "attention_mask"), "it takes no segments"
        student_forward(student, student, inputs, names)
        assert student.seen == {"labels": None}


def test_the_whitelist_is_what_both_tokenizer_and_model_know() -> None:
    assert set(model_inputs(model())) == {"input_ids", "attention_mask", "token_type_ids"}
    assert set(model_inputs(classifier("distilbert"))) == {"input_ids", "attention_mask"}
    other = SimpleNamespace(model_input_names=["input_ids", "position_ids", "special_tokens_mask"])
    assert set(model_inputs(model(), other)) == {"input_ids", "attention_mask", "token_type_ids", "position_ids"}


def test_a_plain_batch_is_the_models_own_answer() -> None:
    student, inputs = model(), batch(segments=True)
    found = forward(student, {**inputs, "teacher_logits": torch.zeros(3, 3)}, want_states=True)
    wanted = student(**inputs, output_hidden_states=True)
    assert torch.equal(found.logits, wanted.logits) and torch.equal(found.mask, inputs["attention_mask"])
    assert all(torch.equal(one, other) for one, other in zip(found.states, wanted.hidden_states, strict=True))
    assert found.view is None and forward(student, inputs).states is None


@pytest.mark.parametrize("kind", ["bert", "distilbert", "electra", "deberta-v2"])
def test_rows_are_mixed_with_their_partners_and_moved(kind: str) -> None:
    student = classifier(kind).eval()
    table = student.get_input_embeddings().weight
    inputs, partner, share = batch(), torch.tensor([2, 1, 0]), torch.tensor([0.7, 1.0, 0.25])
    offset = torch.randn(3, 3, table.shape[1], generator=torch.Generator().manual_seed(0))  # one token less
    looked_up = table[inputs["input_ids"]]
    mixed = share.view(3, 1, 1) * looked_up + (1 - share).view(3, 1, 1) * looked_up[[2, 1, 0]]
    moved = mixed + torch.cat([offset, torch.zeros(3, 1, table.shape[1])], dim=1)

    def by_hand(embeds: torch.Tensor) -> torch.Tensor:
        return student(inputs_embeds=embeds, attention_mask=inputs["attention_mask"]).logits

    both = {"partner": partner, "share": share, "offset": offset}
    for changes, wanted in (
        ({}, looked_up), ({"partner": partner, "share": share}, mixed), (both, moved),
        ({"offset": offset}, looked_up + moved - mixed),
    ):  # fmt: skip
        torch.testing.assert_close(forward(student, {**inputs, **changes}).logits, by_hand(wanted), rtol=0, atol=1e-6)
    assert not torch.allclose(by_hand(moved), by_hand(looked_up), atol=1e-3)
    plain = student(**inputs).logits
    neutral = {"partner": partner, "share": torch.ones(3), "offset": torch.zeros_like(offset)}
    assert torch.equal(forward(student, {**inputs, **neutral}).logits, plain), "bit for bit"
    assert torch.equal(student(**inputs).logits, plain), "afterwards the model is as it was"


def test_the_table_has_its_gradient_through_mixed_and_moved_rows() -> None:
    student, inputs = model(), batch()
    table = student.get_input_embeddings().weight
    partner, share = torch.tensor([1, 0, 2]), torch.tensor([0.6, 0.6, 1.0])
    offset = torch.zeros(3, 4, 8, requires_grad=True)
    forward(student, {**inputs, "partner": partner, "share": share, "offset": offset}).logits[0, 0].backward()
    # The first row's answer depends on its own tokens with .6 and on those of its partner with .4.
    slope = offset.grad[0]
    assert slope.abs().sum() > 0 and offset.grad[1:].abs().sum() == 0
    wanted = torch.zeros_like(table)
    for place in range(4):
        for row, weight in ((0, 0.6), (1, 0.4)):
            wanted[inputs["input_ids"][row, place]] += weight * slope[place]
    wanted[0] = 0  # padding has no gradient
    torch.testing.assert_close(table.grad, wanted, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("segments", [False, True])
def test_a_second_view_is_read_in_the_same_pass_and_with_its_own_look_ups(segments: bool) -> None:
    student, inputs = model(), batch(segments)
    wide = torch.tensor([[2, 14, 15, 16, 17, 3], [2, 18, 3, 0, 0, 0], [2, 3, 0, 0, 0, 0]])
    view = {"input_ids": wide, "attention_mask": (wide != 0).long(), "token_type_ids": (wide > 14).long()}
    view = {name: view[name] for name in inputs}
    calls: list[int] = []
    handle = student.register_forward_pre_hook(
        lambda module, args, kwargs: calls.append(len(kwargs["input_ids"])), with_kwargs=True
    )
    for first, second in ((inputs, view), (view, inputs)):
        named = {f"view_{name}": value for name, value in second.items()}
        offset = torch.full((3, 2, 8), 0.3)
        found = forward(student, {**first, **named, "offset": offset}, want_states=True)
        assert calls == [6]
        alone = forward(student, {**first, "offset": offset})
        torch.testing.assert_close(found.logits, alone.logits)
        torch.testing.assert_close(found.view.logits, student(**second).logits)
        assert found.mask.shape == found.view.mask.shape == (3, 6)
        assert len(found.states) == len(found.view.states) == 3 and found.view.states[0].shape == (3, 6, 8)
        assert found.view.view is None
        calls.clear()
    handle.remove()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"partner": torch.tensor([0, 1, 2])}, "expected partner and share of 3 rows, found .*share missing"),
        ({"partner": torch.tensor([0, 1]), "share": torch.ones(2)}, r"of 3 rows, found partner \(2,\)"),
        ({"offset": torch.zeros(3, 5, 8)}, r"shape \(3, at most 4, 8\), found offset \(3, 5, 8\)"),
        ({"offset": torch.zeros(3, 4, 1)}, r"found offset \(3, 4, 1\)"),
        ({"offset": torch.zeros(1, 4, 8)}, r"found offset \(1, 4, 8\)"),
        ({"view_input_ids": torch.ones(3, 4).long()}, "found input_ids"),
        ({f"view_{name}": value for name, value in batch(segments=True).items()}, "found .*token_type_ids"),
    ],
)
def test_what_would_be_cut_or_spread_in_silence_is_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        forward(model(), {**batch(), **changes})


def test_a_failing_pass_leaves_the_model_as_it_was() -> None:
    student, inputs = model(), batch()
    plain = student(**inputs).logits
    with pytest.raises(IndexError):
        forward(student, {**inputs, "partner": torch.tensor([0, 1, 9]), "share": torch.full((3,), 0.5)})
    assert torch.equal(student(**inputs).logits, plain)

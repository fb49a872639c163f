"""Chosen tokens: their value is a look-up's, their gradient that of a product, on five architectures."""

from __future__ import annotations

import pytest
import torch
from architectures import PAD, VOCABULARY, batch, classifier, every_model

from zskd.models.soft_tokens import Choice, forward_choice, soft_lookup


def choose(ids: torch.Tensor, rows: list[int], columns: list[int], candidates: int | None = None) -> Choice:
    torch.manual_seed(2)
    if candidates is None:
        listed = torch.arange(VOCABULARY).expand(len(rows), -1)
    else:
        listed = torch.stack([torch.randperm(VOCABULARY)[:candidates] for _ in rows])
    probabilities = torch.randn(listed.shape).softmax(-1).requires_grad_()
    return Choice(torch.tensor(rows), torch.tensor(columns), listed, probabilities, probabilities.argmax(-1))


@every_model
@pytest.mark.parametrize("lengths", [[7, 4, 7], [19, 19, 3]], ids=["7", "19"])
@pytest.mark.parametrize("candidates", [None, 6])
def test_chosen_tokens_give_the_logits_of_their_ids_bit_for_bit(
    kind: str, lengths: list[int], candidates: int | None
) -> None:
    model, inputs = classifier(kind), batch(kind, lengths)
    choice = choose(inputs["input_ids"], [0, 0, 1, 2], [1, 5, 2, 1], candidates)
    written = choice.write_into(inputs["input_ids"])
    assert written[0, 5] == choice.tokens[1] and (written != inputs["input_ids"]).sum() <= 4
    logits = forward_choice(model, inputs, choice)
    assert torch.equal(logits, model(**{**inputs, "input_ids": written}).logits)
    assert not torch.equal(logits, model(**inputs).logits)


@every_model
def test_padding_does_not_matter(kind: str) -> None:
    model, inputs = classifier(kind), batch(kind, [6, 6])
    choice = choose(inputs["input_ids"], [0, 1], [1, 4])
    longer = {
        name: torch.nn.functional.pad(value, (0, 5), value=PAD if name == "input_ids" else 0)
        for name, value in inputs.items()
    }
    torch.testing.assert_close(forward_choice(model, longer, choice), forward_choice(model, inputs, choice))


@pytest.mark.parametrize("candidates", [None, 6])
def test_value_and_gradient_are_those_of_a_straight_through_one_hot(candidates: int | None) -> None:
    choice = choose(torch.zeros(2, 3), [0, 1], [1, 2], candidates)
    table = torch.randn(VOCABULARY, 8)
    looked_up = soft_lookup(choice, table)
    one_hot = torch.nn.functional.one_hot(choice.index, choice.candidates.shape[1]).float()
    straight = one_hot - choice.probabilities.detach() + choice.probabilities
    product = torch.einsum("nk,nkd->nd", straight, table[choice.candidates])
    torch.testing.assert_close(looked_up, product)
    weights = torch.randn_like(product)
    ours, theirs = (torch.autograd.grad((e * weights).sum(), choice.probabilities)[0] for e in (looked_up, product))
    assert ours.abs().min() > 0
    torch.testing.assert_close(ours, theirs)


def test_the_table_gets_no_gradient_and_autocast_leaves_the_look_up_alone() -> None:
    choice = choose(torch.zeros(2, 3), [0, 1], [1, 2])
    table = torch.randn(VOCABULARY, 8, requires_grad=True)
    with torch.autocast("cpu", torch.bfloat16):
        looked_up = soft_lookup(choice, table)
    assert looked_up.dtype == torch.float32 and torch.equal(looked_up, table[choice.tokens])
    looked_up.sum().backward()
    assert table.grad is None and choice.probabilities.grad is not None
    assert choice.probabilities.grad.dtype == torch.float32


@every_model
def test_the_gradient_of_a_choice_goes_through_the_whole_classifier(kind: str) -> None:
    """Against a central difference of the logits in the chosen embedding's direction."""
    model, inputs = classifier(kind).double(), batch(kind, [7, 5])
    choice = choose(inputs["input_ids"], [0], [2])
    table = model.get_input_embeddings().weight.detach()
    gradient = torch.autograd.grad(forward_choice(model, inputs, choice)[0, 0], choice.probabilities)[0][0]
    base = table[choice.write_into(inputs["input_ids"])]

    def logit(token: int, step: float) -> torch.Tensor:
        embeddings = base.clone()
        embeddings[0, 2] += step * table[token]
        others = {name: value for name, value in inputs.items() if name != "input_ids"}
        return model(inputs_embeds=embeddings, **others).logits[0, 0]

    for token in (7, 30, 59):
        with torch.no_grad():
            difference = (logit(token, 1e-4) - logit(token, -1e-4)) / 2e-4
        torch.testing.assert_close(gradient[token].double(), difference, rtol=2e-3, atol=1e-6)

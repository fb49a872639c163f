"""The error that a start learns from: a mean over rows, of standardised states; and what a start begins with."""

from __future__ import annotations

import itertools

import torch
from transformers import AutoModel

from zskd.pretrain.learner import EMPTY, StateLearner, make_body, moments
from zskd.student.shape import student_config

LABELS = {"num_labels": 3}


def learner(two: bool, dimensions: int = 12) -> StateLearner:
    torch.manual_seed(0)
    shape = student_config(60, 60_000, two=two, labels=LABELS)
    body = make_body(shape, torch.randn(60, shape.embedding_size - EMPTY))
    return StateLearner(body, torch.randn(dimensions), 0.5 + torch.rand(dimensions))


def batch(rows: int = 6, tokens: int = 7) -> dict[str, torch.Tensor]:
    ids = torch.randint(5, 60, (rows, tokens))
    mask = (torch.arange(tokens) < torch.arange(2, 2 + rows)[:, None]).long()
    return {"input_ids": ids * mask, "attention_mask": mask, "states": torch.randn(rows, tokens, 12)}


def test_a_batch_may_be_split_by_rows_and_padding_does_not_count() -> None:
    for two in (True, False):
        made, rows = learner(two), batch()
        whole = made(**rows)
        parts = [made(**{name: value[a:b] for name, value in rows.items()}) for a, b in ((0, 3), (3, 6))]
        torch.testing.assert_close(whole, torch.stack(parts).mean())
        rows["states"] = rows["states"].masked_fill(rows["attention_mask"][:, :, None] == 0, 1e6)
        torch.testing.assert_close(made(**rows), whole)


def test_states_that_are_met_have_no_error() -> None:
    made, rows = learner(two=True), batch()
    with torch.no_grad():
        inputs = {name: rows[name] for name in ("input_ids", "attention_mask")}
        found = made.outputs(made.body(**inputs).last_hidden_state)
        rows["states"] = found * made.deviation + made.mean
        assert made(**rows) < 1e-9
        rows["states"] = rows["states"] + made.deviation
        torch.testing.assert_close(made(**rows), torch.tensor(1.0))


def test_dimensions_that_hardly_vary_do_not_dominate() -> None:
    states = torch.randn(4_000, 5) * torch.tensor([1e-4, 1.0, 2.0, 3.0, 4.0]) + 7
    mean, deviation = moments(states)
    torch.testing.assert_close(mean, torch.full((5,), 7.0), atol=0.3, rtol=0)
    assert deviation[0] == 0.5 * deviation[2] and torch.all(deviation[1:] > 0.9)


def test_a_start_begins_with_empty_columns_and_the_components() -> None:
    for two, wide in itertools.product((True, False), (1, 100)):
        shape = student_config(60, 60_000, two=two, labels=LABELS)
        components = torch.randn(60, min(wide, shape.embedding_size - EMPTY))
        body = make_body(shape, components)
        table = body.get_input_embeddings().weight
        assert torch.equal(table[:, EMPTY : EMPTY + components.shape[1]], components)
        assert not table[:, :EMPTY].any() and type(body) is type(AutoModel.from_config(shape))

"""What methods with a live teacher need, and what they leave of a batch."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from conftest import tiny_bert, word_tokenizer
from decided import LABELS
from scene import Scene

from zskd.config.methods.backward_pass import BackwardPassOptions
from zskd.errors import InputError
from zskd.methods.backward_pass import BackwardPass
from zskd.methods.context import Run
from zskd.methods.live_rows import embedded, with_offset


def test_another_vocabulary_is_refused() -> None:
    scene = Scene()
    tokenizer = word_tokenizer(["some other words"])
    student = tiny_bert(len(tokenizer), LABELS, hidden=16)
    with pytest.raises(InputError, match="--method backward-pass: expected the teacher and the student to share one"):
        BackwardPass().prepare(Run(seed=0, student=student, tokenizer=tokenizer, teacher=scene.teacher))
    with pytest.raises(ValueError, match="expected a teacher with weights"):
        BackwardPass().prepare(Run(seed=0, student=scene.student, tokenizer=scene.teacher.tokenizer))
    with pytest.raises(ValueError, match="expected a tokenizer"):
        BackwardPass().prepare(Run(seed=0, student=scene.student, teacher=scene.teacher))


def test_two_methods_move_rows_of_their_own() -> None:
    scene = Scene()
    methods = [scene.prepared(BackwardPass(BackwardPassOptions(backward_share=0.25))) for _ in range(2)]
    one = methods[0].batch(scene.batch, scene.step)
    both = methods[1].batch(one, replace(scene.step, taken=0.25))
    first, second = (torch.from_numpy(replace(scene.step, taken=t).rows(0.25)) for t in (0.0, 0.25))
    assert not torch.isin(first, second).any()
    assert torch.equal(both["offset"][first], one["offset"][first]) and (one["offset"][second] == 0).all()
    assert (both["offset"][second].abs().sum(dim=(1, 2)) > 0).all()
    assert torch.equal(both["teacher_logits"][first], one["teacher_logits"][first])


def test_a_mixed_row_is_moved_from_where_it_is() -> None:
    scene = Scene()
    rows, table = torch.tensor([2, 5]), scene.live.embeddings
    plain = embedded(scene.batch, rows, table)
    torch.testing.assert_close(plain, table(scene.batch["input_ids"][rows]))
    partner = torch.arange(16).flip(0)
    mixed = {**scene.batch, "partner": partner, "share": torch.full((16,), 0.25)}
    expected = 0.25 * plain + 0.75 * table(scene.batch["input_ids"][partner[rows]])
    torch.testing.assert_close(embedded(mixed, rows, table), expected)


def test_an_offset_is_added_to_one_that_is_there() -> None:
    scene = Scene()
    rows = torch.tensor([1, 3])
    offset = torch.ones(2, scene.batch["input_ids"].shape[1], 4)
    once = with_offset(scene.batch, rows, offset, torch.zeros(2, 3))
    twice = with_offset(once, rows[:1], offset[:1], torch.ones(1, 3))
    assert twice["offset"][1].unique().tolist() == [2] and twice["offset"][3].unique().tolist() == [1]
    assert twice["teacher_logits"][1].tolist() == [1, 1, 1] and twice["teacher_logits"][3].tolist() == [0, 0, 0]
    assert "offset" not in scene.batch and scene.batch["teacher_logits"][3].abs().sum() > 0, "the batch is left"


def test_a_count_goes_on_where_a_checkpoint_was() -> None:
    scene = Scene()
    method = scene.prepared(BackwardPass(BackwardPassOptions(backward_share=0.5)))
    method.batch(scene.batch, scene.step)
    method.end_step(scene.step)
    other = BackwardPass()
    other.load_state(method.state())
    assert other.queries == method.queries == 16 and other.map is not None and method.map is not None
    assert torch.equal(other.map.backward, method.map.backward)

"""Rows moved uphill on the difference of both models: they are further apart there, and the target is of there."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from conftest import tiny_bert
from decided import LABELS
from scene import ROWS, Scene

from zskd.config.methods.backward_pass import BackwardPassOptions
from zskd.methods.backward_pass import BackwardPass


def apart(scene: Scene, embeds: torch.Tensor, logits: torch.Tensor) -> torch.Tensor:
    return (scene.students(embeds, scene.batch) - logits).square().sum(dim=1)


@pytest.mark.parametrize("steps", [1, 3])
def test_a_small_movement_raises_the_difference_of_every_moved_row(steps: int) -> None:
    scene = Scene()
    options = BackwardPassOptions(backward_share=0.5, backward_steps=steps, backward_radius=0.01)
    method = scene.prepared(BackwardPass(options))
    after = method.batch(scene.batch, scene.step)
    rows = torch.from_numpy(scene.step.rows(0.5))
    before = apart(scene, scene.moved(scene.batch), scene.batch["teacher_logits"])
    there = apart(scene, scene.moved(after), after["teacher_logits"])
    assert len(rows) == ROWS / 2 and (there[rows] > before[rows]).all()
    rest = torch.ones(ROWS, dtype=torch.bool)
    rest[rows] = False
    assert (after["offset"][rest] == 0).all()
    assert torch.equal(after["teacher_logits"][rest], scene.batch["teacher_logits"][rest])
    assert torch.equal(after["input_ids"], scene.batch["input_ids"])
    method.end_step(scene.step)
    assert method.queries == scene.live.queries == (steps + 1) * len(rows) and scene.live.backwards == steps * len(rows)


def test_special_tokens_and_padding_stay_where_they_are() -> None:
    scene = Scene()
    after = scene.prepared(BackwardPass(BackwardPassOptions(backward_share=1.0))).batch(scene.batch, scene.step)
    special = torch.isin(after["input_ids"], torch.tensor(scene.teacher.tokenizer.all_special_ids))
    held = special | ~scene.batch["attention_mask"].bool()
    assert (after["offset"][held] == 0).all() and (after["offset"][~held].abs().sum(dim=-1) > 0).all()


def test_no_radius_leaves_the_input_and_the_teachers_answer() -> None:
    scene = Scene()
    options = BackwardPassOptions(backward_share=1.0, backward_radius=0.0)
    after = scene.prepared(BackwardPass(options)).batch(scene.batch, scene.step)
    assert (after["offset"] == 0).all()
    torch.testing.assert_close(after["teacher_logits"], scene.batch["teacher_logits"], atol=1e-5, rtol=0)


def test_the_students_movement_is_that_of_the_teacher_seen_in_its_table() -> None:
    """A student with the teacher's table, and so with a map that changes nothing, is moved as the teacher is."""
    scene = Scene()
    scene.student = tiny_bert(len(scene.teacher.tokenizer), LABELS, hidden=scene.teacher.model.config.hidden_size)
    scene.student.set_input_embeddings(scene.teacher.model.get_input_embeddings())
    method = scene.prepared(BackwardPass(BackwardPassOptions(backward_share=1.0)))
    assert isinstance(method, BackwardPass) and method.map is not None and method.map.fit == pytest.approx(1, abs=1e-5)
    torch.testing.assert_close(method.map.matrix, torch.eye(len(method.map.matrix)), atol=1e-4, rtol=0)


def test_other_steps_move_other_rows() -> None:
    scene = Scene()
    seen = {tuple(replace(scene.step, number=number).rows(0.25).tolist()) for number in range(5)}
    assert len(seen) > 1 and {len(rows) for rows in seen} == {4}

"""Movements of word embeddings: where they go, how far, and what they are for a student with another table."""

from __future__ import annotations

import pytest
import torch
from scene import Scene

from zskd.methods.embedding_space import TableMap, climb, climb_in_box, movable, radii


def test_the_map_solves_the_normal_equations_and_says_how_well_it_fits() -> None:
    torch.manual_seed(0)
    teacher, student = torch.randn(200, 12), torch.randn(200, 5)
    found = TableMap.of(teacher, student)
    left, right = (table - table.mean(dim=0) for table in (teacher, student))
    torch.testing.assert_close(left.T @ (left @ found.matrix - right), torch.zeros(12, 5), atol=1e-3, rtol=0)
    missed = (left @ found.matrix - right).square().sum() / right.square().sum()
    assert found.fit == pytest.approx(1 - float(missed), abs=1e-5) and 0 < found.fit < 0.2, "of two random tables"


def test_a_table_that_the_other_explains_is_mapped_exactly() -> None:
    torch.manual_seed(0)
    teacher = torch.randn(200, 12)
    student = teacher @ torch.randn(12, 5) + torch.randn(5)  # a shift is no difference between movements
    found = TableMap.of(torch.cat([teacher, torch.randn(7, 12)]), student)  # rows of no token
    assert found.fit == pytest.approx(1, abs=1e-6)
    torch.testing.assert_close(found((teacher[3] - teacher[8])[None, None])[0, 0], student[3] - student[8])


def test_a_student_with_another_table_moves_less_and_not_more() -> None:
    torch.manual_seed(0)
    teacher, student = torch.randn(2_000, 64), torch.randn(2_000, 16)
    found = TableMap.of(teacher, student)(teacher[:, None] - teacher.roll(1, 0)[:, None])
    assert found.norm(dim=-1).mean() < 0.5 * (student - student.roll(1, 0)).norm(dim=-1).mean()


def test_neither_special_tokens_nor_padding_may_be_moved() -> None:
    ids, mask = torch.tensor([[2, 7, 9, 3], [2, 8, 3, 0]]), torch.tensor([[1, 1, 1, 1], [1, 1, 1, 0]])
    free = movable(ids, mask, torch.tensor([0, 1, 2, 3]))
    assert free.tolist() == [[0, 1, 1, 0], [0, 1, 0, 0]]
    embeds = torch.ones(2, 4, 9)  # of length 3
    torch.testing.assert_close(radii(embeds, free, 0.5), torch.tensor([1.5 * 2**0.5, 1.5]))
    assert radii(embeds, torch.zeros(2, 4), 0.5).tolist() == [0, 0], "nothing is free"


@pytest.mark.parametrize("steps", [1, 4])
def test_every_row_goes_uphill_within_its_ball_where_it_may(steps: int) -> None:
    torch.manual_seed(0)
    embeds, goal = torch.randn(6, 5, 4), torch.randn(6, 5, 4)
    free = (torch.rand(6, 5) < 0.7).float()
    free[:, 0], free[5] = 1, 0

    def nearer(point: torch.Tensor) -> torch.Tensor:
        return -(point - goal).square().sum(dim=(1, 2))

    most = torch.full((6,), 0.05)
    moved = climb(embeds, free, most, steps, nearer)
    lengths = moved.flatten(1).norm(dim=1)
    assert (lengths[:5] <= 0.05 + 1e-6).all() and (lengths[:5] > 0.04).all() and lengths[5] == 0
    assert (nearer(embeds + moved)[:5] > nearer(embeds)[:5]).all()
    assert (moved[free == 0] == 0).all() and not moved.requires_grad
    alone = climb(embeds[2:3], free[2:3], most[:1], steps, lambda point: -(point - goal[2:3]).square().sum(dim=(1, 2)))
    torch.testing.assert_close(alone[0], moved[2], msg="a row does not depend on the others")
    boxed = climb_in_box(embeds, free, most, steps, nearer)
    assert boxed.abs().max() <= 0.05 + 1e-7 and (boxed[free == 0] == 0).all()
    assert (nearer(embeds + boxed)[:5] > nearer(embeds)[:5]).all()
    for found in (climb, climb_in_box):
        assert (found(embeds, free, torch.zeros(6), steps, nearer) == 0).all()


def test_a_flat_objective_moves_nothing() -> None:
    for most in (1.0, 1e6):
        moved = climb(
            torch.randn(2, 3, 4), torch.ones(2, 3), most * torch.ones(2), 2, lambda point: 0 * point.sum(dim=(1, 2))
        )
        assert (moved == 0).all()


def test_dimensions_can_be_held() -> None:
    free = torch.zeros(2, 3, 4)
    free[..., :2] = 1
    moved = climb(torch.randn(2, 3, 4), free, torch.ones(2), 2, lambda point: point.sum(dim=(1, 2)))
    assert (moved[..., 2:] == 0).all() and (moved[..., :2] > 0).all()


def test_at_no_movement_a_student_reads_the_input_itself() -> None:
    scene = Scene()
    own = scene.moved(scene.batch)
    by_ids = scene.student(**{name: scene.batch[name] for name in ("input_ids", "attention_mask")}).logits
    torch.testing.assert_close(scene.students(own, scene.batch), by_ids.detach(), atol=1e-6, rtol=0)

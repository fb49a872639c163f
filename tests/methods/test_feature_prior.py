"""The feature prior: what enters of the teacher, when, and what of it reaches the student."""

from __future__ import annotations

from dataclasses import replace

import torch
from scene import ROWS, Scene
from test_inconsistent import output_of

from zskd.checks import check
from zskd.config.distillation import DistillConfig
from zskd.config.methods.feature_prior import FeaturePriorOptions
from zskd.methods.feature_prior import FeaturePrior

OPTIONS = FeaturePriorOptions(prior_share=1.0, prior_weight=2.0, prior_width=16)


def found(scene: Scene, similarity: float, options: FeaturePriorOptions = OPTIONS) -> tuple[FeaturePrior, torch.Tensor]:
    method = scene.prepared(FeaturePrior(options))
    assert isinstance(method, FeaturePrior)
    method.similarity = similarity
    assert method.batch(scene.batch, scene.step) is scene.batch, "inputs stay"
    loss = method.loss(scene.batch, output_of(scene), scene.step)
    assert loss is not None
    return method, loss


def students_gradient(scene: Scene) -> float:
    weight = scene.student.bert.encoder.layer[0].output.dense.weight
    return 0.0 if weight.grad is None else float(weight.grad.abs().sum())


def test_where_all_of_the_teacher_enters_the_student_learns_nothing() -> None:
    scene = Scene()
    _, loss = found(scene, 0.0)
    loss.backward()
    assert students_gradient(scene) == 0


def test_where_nothing_enters_the_teachers_states_are_a_target_alone() -> None:
    scene = Scene()
    method, loss = found(scene, 1.0)
    loss.backward()
    assert students_gradient(scene) > 0
    assert all(weight.grad is None for weight in scene.teacher.model.parameters())
    assert all(weight.grad is None or not weight.grad.any() for weight in method.parts["teacher"].parameters())
    assert not method.drawn(500, scene.step).any()


def test_positions_are_the_same_for_all_rows_however_a_batch_is_split() -> None:
    scene = Scene()
    method, _ = found(scene, 0.3)
    drawn = method.drawn(400, scene.step)
    assert 0.6 < drawn.float().mean() < 0.8
    part = replace(scene.step, places=scene.step.places[8:], micro=1, micros=2)
    assert torch.equal(method.drawn(100, part), drawn[:100]), "a micro-batch of shorter rows"
    assert not torch.equal(method.drawn(400, replace(scene.step, number=1)), drawn)


def test_padding_has_no_part() -> None:
    scene = Scene()
    _, loss = found(scene, 0.5)
    longer = Scene()
    for name in ("input_ids", "attention_mask"):
        longer.batch[name] = torch.nn.functional.pad(longer.batch[name], (0, 7))
    _, again = found(longer, 0.5)
    torch.testing.assert_close(loss, again, rtol=1e-4, atol=1e-6)


def test_the_similarity_is_a_moving_mean_over_all_rows_of_a_step() -> None:
    scene = Scene()
    method, _ = found(scene, 0.5)
    method.end_step(scene.step)
    assert 0.45 <= method.similarity < 0.55 and method.queries == ROWS
    halves = scene.prepared(FeaturePrior(OPTIONS))
    assert isinstance(halves, FeaturePrior)
    for part in (slice(0, 8), slice(8, 16)):
        batch = {name: value[part] for name, value in scene.batch.items()}
        step = replace(scene.step, places=scene.step.places[part])
        halves.batch(batch, step)
        whole, scene.batch = scene.batch, batch
        halves.loss(batch, output_of(scene), step)
        scene.batch = whole
    halves.end_step(scene.step)
    assert abs(halves.similarity - method.similarity) < 1e-5
    other = FeaturePrior()
    other.load_state(method.state())
    assert other.similarity == method.similarity


def test_models_that_agree_need_less_and_less_of_the_prior() -> None:
    scene = Scene()
    method = scene.prepared(FeaturePrior(OPTIONS))
    assert isinstance(method, FeaturePrior)
    states = torch.randn(ROWS, 3, 8)
    for number in range(60):
        method._note(states, 3 * states, torch.ones(ROWS, 3), list(range(ROWS)))
        method.end_step(replace(scene.step, number=number, total=100))
    assert method.similarity > 0.99


def test_its_cost_is_announced_and_a_width_that_heads_cannot_share_refused(tiny_config: DistillConfig) -> None:
    config = replace(tiny_config, method=["feature-prior"], prior_width=30)
    (problem,) = check(config)
    assert problem.startswith("--prior-width 30: expected a multiple of 4")
    scene = Scene()
    method = scene.prepared(FeaturePrior(replace(OPTIONS, prior_weight=0.0)))
    assert method.batch(scene.batch, scene.step) is scene.batch and scene.live.queries == 0


def test_few_rows_wait_for_others_and_are_kept_in_a_checkpoint() -> None:
    scene = Scene()
    method, other = (scene.prepared(FeaturePrior(OPTIONS)) for _ in range(2))
    assert isinstance(method, FeaturePrior) and isinstance(other, FeaturePrior)
    torch.manual_seed(0)
    rows = torch.randn(8, 3, 8)
    for number in range(4):
        target = method if number < 2 else other
        target._note(rows[2 * number : 2 * number + 2], rows[2 * number : 2 * number + 2], torch.ones(2, 3), [0, 1])
        target.end_step(replace(scene.step, number=number))
        if number == 1:
            assert method.similarity == 0.5, "four rows are too few"
            other.load_state(method.state())
    assert abs(other.similarity - (0.9 * 0.5 + 0.1)) < 1e-5

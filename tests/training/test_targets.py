"""Targets of the objectives: distributions, what coincides for two classes, and where a gradient turns."""

from __future__ import annotations

import pytest
import torch
from test_objective import classes, cosines, gradient, logits, objective, temperatures
from torch.nn import functional

from zskd.metrics.divergence import kl_divergence
from zskd.training.objective import kd_loss
from zskd.training.targets import (
    equal_smoothing,
    gradient_rescaling,
    pt_target,
    sim_target,
    smoothed_target,
    tempered,
    topk_target,
    true_classes,
)


def targets(teacher: torch.Tensor, temperature: float) -> dict[str, torch.Tensor]:
    labels, true = teacher.shape[-1], true_classes(teacher)
    return {
        "label-smoothing": smoothed_target(true, labels, 0.2),
        "kd-pt": pt_target(teacher, temperature=temperature),
        "kd-sim": sim_target(cosines(labels), true),
        **{f"kd-topk {k}": topk_target(teacher, k, temperature) for k in range(1, labels + 1)},
    }


@classes
@temperatures
@pytest.mark.parametrize("scale", [0.1, 3.0, 200.0])
def test_rows_of_every_target_sum_to_one(labels: int, temperature: float, scale: float) -> None:
    teacher, _ = logits(labels, scale=scale)
    for name, target in targets(teacher, temperature).items():
        assert (target >= 0).all(), name
        torch.testing.assert_close(target.sum(-1), torch.ones(len(teacher)), msg=name)


@classes
@temperatures
def test_topk_of_all_classes_or_all_but_one_is_kd(labels: int, temperature: float) -> None:
    teacher, student = logits(labels)
    for k in (labels - 1, labels):
        assert torch.equal(topk_target(teacher, k, temperature), tempered(teacher, temperature))
        loss = objective("kd-topk", labels, top_k=k, temperature=temperature)(teacher, student)
        torch.testing.assert_close(loss, kd_loss(teacher, student, temperature))


@temperatures
def test_two_classes_have_one_level_of_probabilities(temperature: float) -> None:
    teacher, student = logits(2)
    expected = kd_loss(teacher, student, temperature)
    slope = gradient(expected, student)
    for name in ("kd-pt", "kd-topk"):
        loss = objective(name, 2, temperature=temperature)(teacher, student)
        torch.testing.assert_close(loss, expected)
        torch.testing.assert_close(gradient(loss, student), slope, atol=1e-6, rtol=1e-4)


@pytest.mark.parametrize("own", [0.1, 0.3, 1.0])
@pytest.mark.parametrize("power", [0.5, 1.0, 2.0])
@pytest.mark.parametrize("cosine", [-0.9, -0.2, 0.0, 0.4, 0.99])
def test_two_classes_make_kd_sim_label_smoothing(cosine: float, power: float, own: float) -> None:
    teacher, _ = logits(2)
    true = true_classes(teacher)
    alike = torch.tensor([[1.0, cosine], [cosine, 1.0]])
    smoothing = equal_smoothing(cosine, power, own)
    assert 0 < smoothing < 1
    torch.testing.assert_close(sim_target(alike, true, power, own), smoothed_target(true, 2, smoothing))


@classes
@temperatures
def test_kd_pt_on_the_teachers_class_is_topk_of_one(labels: int, temperature: float) -> None:
    teacher, _ = logits(labels)
    tied = torch.zeros(4, labels)
    tied[1:, -1] = torch.tensor([1.0, -1.0, 0.0])  # every class, all but one, and the last one on top
    for rows in (teacher, tied):
        torch.testing.assert_close(pt_target(rows, temperature=temperature), topk_target(rows, 1, temperature))


@classes
def test_kd_pt_keeps_the_probability_of_the_gold_class(labels: int) -> None:
    teacher, _ = logits(labels)
    gold = torch.randint(labels, (len(teacher),), generator=torch.Generator().manual_seed(1))
    target, p = pt_target(teacher, gold), tempered(teacher)
    torch.testing.assert_close(target.gather(1, gold[:, None]), p.gather(1, gold[:, None]))
    others = target.scatter(1, gold[:, None], torch.nan)
    assert torch.equal(others.nan_to_num(-1).amax(1), others.nan_to_num(2).amin(1)), "the others are even"


@classes
@pytest.mark.parametrize("weight", [0.3, 0.7, 1.0])
def test_gradient_rescaling_is_what_autograd_finds(labels: int, weight: float) -> None:
    teacher, student = logits(labels, scale=1.5)
    true = true_classes(teacher)
    rows = torch.arange(len(teacher))
    plain = gradient(functional.cross_entropy(student, true, reduction="sum"), student)[rows, true]
    both = (1 - weight) * functional.cross_entropy(student, true, reduction="sum")
    both = both + weight * kl_divergence(teacher, student).sum()
    ratio = gradient(both, student)[rows, true] / plain
    torch.testing.assert_close(gradient_rescaling(teacher, student.detach(), true, weight), ratio, atol=1e-4, rtol=1e-3)


def test_gradient_rescaling_turns_where_the_student_is_surer_than_the_teacher() -> None:
    teacher, student = torch.tensor([[2.0, 0.0], [0.5, 0.0]]), torch.tensor([[1.0, 0.0], [1.0, 0.0]])
    first, second = gradient_rescaling(teacher, student, torch.tensor([0, 0])).tolist()
    assert first > 0 > second


def test_cosines_keep_their_sign_and_the_most_alike_class_gets_the_most() -> None:
    alike = torch.tensor([[1.0, 0.8, -0.5], [0.8, 1.0, 0.1], [-0.5, 0.1, 1.0]])
    target = sim_target(alike, torch.tensor([0, 1, 2]))
    assert target[0].tolist() == sorted(target[0].tolist(), reverse=True)
    assert target.argmax(-1).tolist() == [0, 1, 2]
    assert target[0, 2] < sim_target(alike.clamp(min=0), torch.tensor([0]))[0, 2]


@pytest.mark.parametrize("k", [0, -1, 4])
def test_k_out_of_range_is_refused(k: int) -> None:
    with pytest.raises(ValueError, match=f"from 1 to the 3 classes, found {k}"):
        topk_target(torch.zeros(2, 3), k)

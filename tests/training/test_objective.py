"""The objectives: every identity of the levels that Tang et al. (2020) tell apart, over random logits."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional

from zskd.config.objective_options import OBJECTIVES
from zskd.training.objective import NEEDS_COSINES, Objective, coinciding, default_top_k, kd_loss
from zskd.training.targets import (
    class_cosines,
    pt_target,
    sim_target,
    target_divergence,
    tempered,
    topk_target,
    true_classes,
)
from zskd.transfer.gold import UNKNOWN

CLASSES = (2, 3, 5, 20)
TEMPERATURES = (0.5, 1.0, 4.0)

classes = pytest.mark.parametrize("labels", CLASSES)
temperatures = pytest.mark.parametrize("temperature", TEMPERATURES)


def logits(labels: int, rows: int = 32, scale: float = 3.0, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    """Random logits of a teacher and a student; the student's ask for gradients."""
    generator = torch.Generator().manual_seed(seed + 100 * labels)
    teacher, student = (scale * torch.randn(rows, labels, generator=generator) for _ in range(2))
    return teacher, student.requires_grad_()


def cosines(labels: int, hidden: int = 8, seed: int = 0) -> torch.Tensor:
    return class_cosines(torch.randn(labels, hidden, generator=torch.Generator().manual_seed(seed)))


def objective(name: str, labels: int, **options: object) -> Objective:
    return Objective(objective=name, cosines=cosines(labels) if name in NEEDS_COSINES else None, **options)


def gradient(loss: torch.Tensor, student: torch.Tensor) -> torch.Tensor:
    return torch.autograd.grad(loss, student)[0]


@classes
def test_label_smoothing_of_zero_is_cross_entropy(labels: int) -> None:
    teacher, student = logits(labels)
    expected = functional.cross_entropy(student, teacher.argmax(-1))
    torch.testing.assert_close(objective("label-smoothing", labels, smoothing=0.0)(teacher, student), expected)
    torch.testing.assert_close(objective("hard-label", labels)(teacher, student), expected)


@classes
@temperatures
@pytest.mark.parametrize("name", ["kd", "kd-pt", "kd-topk"])
def test_gradient_is_temperature_times_the_difference(labels: int, temperature: float, name: str) -> None:
    """T squared from the loss and 1/T from the tempered student leave T."""
    teacher, student = logits(labels)
    target = {
        "kd": tempered(teacher, temperature),
        "kd-pt": pt_target(teacher, temperature=temperature),
        "kd-topk": topk_target(teacher, default_top_k(labels), temperature),
    }[name]
    found = gradient(objective(name, labels, temperature=temperature)(teacher, student), student)
    expected = temperature * (tempered(student.detach(), temperature) - target) / len(teacher)
    torch.testing.assert_close(found, expected, atol=1e-6, rtol=1e-4)


@classes
@pytest.mark.parametrize("name", ["label-smoothing", "kd-sim", "hard-label"])
def test_objectives_without_tempered_probabilities_know_no_temperature(labels: int, name: str) -> None:
    teacher, student = logits(labels)
    cold, hot = (objective(name, labels, temperature=t)(teacher, student) for t in (1.0, 8.0))
    assert torch.equal(cold, hot)


@classes
def test_logit_mse_has_the_gradient_of_kd_at_a_high_temperature(labels: int) -> None:
    teacher, student = logits(labels)
    found = gradient(objective("logit-mse", labels)(teacher, student), student)
    limit = gradient(objective("kd", labels, temperature=1e3)(teacher, student), student)
    torch.testing.assert_close(found, limit, atol=0.02 * float(found.abs().max()), rtol=0)
    shifted = objective("logit-mse", labels)(teacher + 7.0, student)
    torch.testing.assert_close(shifted, objective("logit-mse", labels)(teacher, student), atol=1e-5, rtol=1e-4)


@classes
def test_pt_and_sim_together_are_the_mixed_target_at_temperature_one(labels: int) -> None:
    teacher, student = logits(labels)
    for share in (0.0, 0.3, 1.0):
        found = objective("kd-pt+sim", labels, pt_weight=share)(teacher, student)
        mixed = share * pt_target(teacher) + (1 - share) * sim_target(cosines(labels), true_classes(teacher))
        expected = target_divergence(mixed, student).mean()
        torch.testing.assert_close(gradient(found, student), gradient(expected, student), atol=1e-6, rtol=1e-4)
    alone = objective("kd-pt+sim", labels, pt_weight=1.0, temperature=2.0)(teacher, student)
    torch.testing.assert_close(alone, objective("kd-pt", labels, temperature=2.0)(teacher, student))


def test_the_default_is_the_old_loss_bit_for_bit() -> None:
    for labels in CLASSES:
        for temperature in TEMPERATURES:
            teacher, student = logits(labels)
            assert torch.equal(
                Objective(temperature=temperature)(teacher, student), kd_loss(teacher, student, temperature)
            )


@classes
@pytest.mark.parametrize("name", OBJECTIVES)
def test_every_objective_is_finite_and_pulls_the_student_to_the_teachers_class(labels: int, name: str) -> None:
    teacher, student = logits(labels, scale=60.0)  # probabilities of exactly 0 and 1
    loss = objective(name, labels)(teacher, student)
    found = gradient(loss, student)
    assert loss.isfinite() and found.isfinite().all()
    student = torch.zeros_like(teacher).requires_grad_()
    steepest = gradient(objective(name, labels)(teacher, student), student).argmin(-1)
    assert torch.equal(steepest, true_classes(teacher))


@classes
@pytest.mark.parametrize("name", OBJECTIVES)
def test_gold_labels_enter_with_their_weight_and_only_where_known(labels: int, name: str) -> None:
    teacher, student = logits(labels)
    gold = torch.randint(labels, (len(teacher),), generator=torch.Generator().manual_seed(2))
    none = torch.full_like(gold, UNKNOWN)
    plain = objective(name, labels)
    torch.testing.assert_close(plain(teacher, student, none), plain(teacher, student))
    only = objective(name, labels, gold_weight=1.0)
    torch.testing.assert_close(only(teacher, student, gold), functional.cross_entropy(student, gold))
    half = torch.where(torch.arange(len(gold)) % 2 == 0, gold, none)
    known = half != UNKNOWN
    parts = [only(teacher[mask], student[mask], half[mask]) for mask in (known, ~known)]
    torch.testing.assert_close(only(teacher, student, half), sum(parts) / 2)


def test_what_cannot_be_computed_is_refused() -> None:
    with pytest.raises(ValueError, match=r"expected one of kd, .*found 'kl'"):
        Objective(objective="kl")
    for name in NEEDS_COSINES:
        with pytest.raises(ValueError, match="cosines"):
            Objective(objective=name)


@pytest.mark.parametrize(
    ("name", "labels", "top_k", "gold", "said"),
    [
        ("kd", 2, None, False, None),
        ("kd-pt", 2, None, False, "kd-pt, kd-topk and kd are the same"),
        ("kd-sim", 2, None, False, "kd-sim is label smoothing"),
        ("kd-pt+sim", 2, None, True, "kd-pt is kd"),
        ("kd-topk", 3, 2, False, "kd-topk is kd"),
        ("kd-topk", 3, None, False, "kd-topk is kd-pt"),
        ("kd-topk", 3, None, True, None),
        ("kd-topk", 20, None, False, None),
        ("kd-sim", 3, None, False, None),
        ("label-smoothing", 2, None, False, None),
    ],
)
def test_levels_that_coincide_are_said(name: str, labels: int, top_k: int | None, gold: bool, said: str | None) -> None:
    found = coinciding(name, labels, top_k, gold=gold)
    assert found is None if said is None else found is not None and said in found


def test_the_command_line_knows_every_objective() -> None:
    for name in OBJECTIVES:
        assert objective(name, 3).name == name
    with pytest.raises(ValueError) as refused:
        Objective(objective="other")
    assert all(name in str(refused.value) for name in OBJECTIVES)

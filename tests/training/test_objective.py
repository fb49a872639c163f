"""The objectives: every identity of the levels that Tang et al. (2020) tell apart, over random logits."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional

from zskd.config.objective_options import OBJECTIVES
from zskd.metrics.divergence import kl_divergence
from zskd.training.objective import NEEDS_COSINES, Objective, coinciding, default_top_k, kd_loss
from zskd.training.targets import (
    class_cosines,
    equal_smoothing,
    gradient_rescaling,
    pt_target,
    sim_target,
    smoothed_target,
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

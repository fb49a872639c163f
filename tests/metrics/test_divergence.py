"""The distillation loss: a divergence, with the gradient and the reduction that its documentation states."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from zskd.metrics.divergence import entropy, kl_divergence
from zskd.training.objective import kd_loss

TEMPERATURES = (0.5, 1.0, 2.0, 4.0)


def logits(rows: int = 16, labels: int = 3, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    teacher, student = (3 * torch.randn(rows, labels, generator=generator) for _ in range(2))
    return teacher, student.requires_grad_()


@pytest.mark.parametrize("temperature", TEMPERATURES)
def test_zero_between_equal_distributions(temperature: float) -> None:
    teacher, _ = logits()
    shifted = teacher + torch.linspace(-20, 20, len(teacher))[:, None]  # a constant per row changes no softmax
    for student in (teacher, shifted):
        torch.testing.assert_close(
            kl_divergence(teacher, student, temperature), torch.zeros(len(teacher)), atol=2e-6, rtol=0
        )
    assert kd_loss(teacher, teacher, temperature) == 0


@pytest.mark.parametrize("temperature", TEMPERATURES)
@pytest.mark.parametrize("labels", [2, 3, 7])
def test_positive_between_different_distributions(temperature: float, labels: int) -> None:
    teacher, student = logits(rows=64, labels=labels)
    rows = kl_divergence(teacher, student, temperature)
    assert rows.shape == (64,) and (rows > 0).all()
    assert kd_loss(teacher, student, temperature) > 0


def test_matches_the_definition() -> None:
    teacher, student = logits()
    p, q = teacher.double().softmax(-1), student.double().softmax(-1)
    expected = (p * (p / q).log()).sum(-1)
    torch.testing.assert_close(kl_divergence(teacher, student).double(), expected, rtol=1e-4, atol=1e-6)
    # The direction is KL(teacher || student), not the reverse.
    assert not torch.allclose(kl_divergence(student, teacher).double(), expected, rtol=1e-2)


@pytest.mark.parametrize("temperature", TEMPERATURES)
def test_gradient_is_temperature_times_difference_over_batch(temperature: float) -> None:
    teacher, student = logits()
    (gradient,) = torch.autograd.grad(kd_loss(teacher, student, temperature), student)
    p, q = (teacher / temperature).softmax(-1), (student.detach() / temperature).softmax(-1)
    torch.testing.assert_close(gradient, temperature * (q - p) / len(teacher), rtol=1e-4, atol=1e-7)


@pytest.mark.parametrize("labels", [2, 5])
def test_gradient_at_high_temperature_is_that_of_logit_regression(labels: int) -> None:
    teacher, student = logits(labels=labels)
    (gradient,) = torch.autograd.grad(kd_loss(teacher, student, 500.0), student)
    centred = [side.detach() - side.detach().mean(-1, keepdim=True) for side in (teacher, student)]
    expected = (centred[1] - centred[0]) / (labels * len(teacher))
    torch.testing.assert_close(gradient, expected, rtol=0, atol=0.02 * expected.abs().max().item())


@pytest.mark.parametrize("temperature", TEMPERATURES)
def test_repeating_the_batch_leaves_the_loss(temperature: float) -> None:
    teacher, student = logits()
    once = kd_loss(teacher, student, temperature)
    torch.testing.assert_close(kd_loss(teacher.repeat(2, 1), student.repeat(2, 1), temperature), once)
    torch.testing.assert_close(once, temperature**2 * kl_divergence(teacher, student, temperature).mean())


def test_no_gradient_reaches_a_detached_teacher() -> None:
    teacher, student = logits()
    assert not kd_loss(teacher, student.detach()).requires_grad
    teacher.requires_grad_()
    kd_loss(teacher.detach(), student).backward()
    assert teacher.grad is None and student.grad is not None


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_inputs_are_computed_in_float32(dtype: torch.dtype) -> None:
    teacher, student = (side.detach().to(dtype) for side in logits())
    loss = kd_loss(teacher, student, 2.0)
    assert loss.dtype == torch.float32
    assert loss == kd_loss(teacher.float(), student.float(), 2.0)


def test_finite_for_certain_teachers() -> None:
    teacher = torch.tensor([[300.0, -300.0], [-1e4, 1e4]])
    loss = kd_loss(teacher, torch.zeros(2, 2))
    torch.testing.assert_close(loss, torch.log(torch.tensor(2.0)))


def test_entropy_is_largest_where_all_classes_are_even() -> None:
    logits = torch.tensor([[0.0, 0.0, 0.0], [50.0, 0.0, 0.0], [1.0, 2.0, 3.0]])
    found = entropy(logits)
    assert float(found[0]) == pytest.approx(np.log(3)) and float(found[1]) == pytest.approx(0, abs=1e-6)
    assert found[1] < found[2] < found[0]

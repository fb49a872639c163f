"""From a run's options to Trainer's arguments: updates, checkpoints, learning rate, batch."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from zskd.config.distillation import DistillConfig, optimizer_steps
from zskd.training.run_arguments import BUILT_LEARNING_RATE, PRETRAINED_LEARNING_RATE, learning_rate, training_arguments


@pytest.mark.parametrize(
    ("student", "asked", "rate"),
    [
        ("build", None, BUILT_LEARNING_RATE),
        ("a/b", None, PRETRAINED_LEARNING_RATE),
        ("build", 0.5, 0.5),
        ("a/b", 0.0, 0.0),
    ],
)
def test_a_student_that_starts_at_random_takes_larger_steps(student: str, asked: float | None, rate: float) -> None:
    assert learning_rate(DistillConfig(student=student, learning_rate=asked)) == rate


@pytest.mark.parametrize(("epochs", "accumulation", "rows"), [(2.0, 1, 640), (1.0, 4, 640), (0.5, 1, 641)])
def test_updates_follow_the_rows_and_checkpoints_are_evenly_spaced(
    tiny_config: DistillConfig, epochs: float, accumulation: int, rows: int, tmp_path: Path
) -> None:
    config = replace(tiny_config, epochs=epochs, gradient_accumulation=accumulation, objective="kd")
    made = training_arguments(config, tmp_path, rows)
    assert made.max_steps == optimizer_steps(config, rows)
    assert abs(made.max_steps - epochs * rows / (32 * accumulation)) < 1
    assert made.save_steps == made.eval_steps == max(1, made.max_steps // config.checkpoints)
    assert made.metric_for_best_model == "loss" and made.greater_is_better is False


def test_every_option_of_training_reaches_trainer(tiny_config: DistillConfig, tmp_path: Path) -> None:
    config = replace(
        tiny_config, objective="kd-topk", top_k=2, temperature=4.0, learning_rate=0.03, warmup=0.2, weight_decay=0.3,
        seed=11, logging_steps=7, student_precision="bf16", batch_size=16,
    )  # fmt: skip
    made = training_arguments(config, tmp_path, 640)
    assert (made.objective, made.top_k, made.temperature, made.learning_rate) == ("kd-topk", 2, 4.0, 0.03)
    assert (made.warmup_steps, made.weight_decay, made.seed, made.logging_steps) == (0.2, 0.3, 11, 7)
    assert made.bf16 and made.per_device_train_batch_size == 16 and made.output_dir == str(tmp_path)

"""The adversary's options: what contradicts what, and how many texts it will ask for."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from zskd.checks import check
from zskd.config.distillation import DistillConfig
from zskd.config.methods.adversarial import (
    AdversarialOptions,
    batch_problems,
    problems,
    queries,
    run_problems,
)
from zskd.config.methods.adversarial_schedule import Origin, make_schedule
from zskd.config.methods.shares import MIN_TRANSFER
from zskd.errors import InputError


def test_problems_come_from_the_method_s_own_options(tiny_config: DistillConfig, tmp_path: Path) -> None:
    wrong = {"fresh_share": 0.7, "replay_share": 0.7, "generator_steps": 60, "generator": str(tmp_path / "no")}
    assert check(replace(tiny_config, **wrong)) == [], "nothing uses them"
    for asked in ({"perturb": "adversarial"}, {"method": ["adversarial"]}):
        problems = check(replace(tiny_config, **wrong, **asked))
        assert [p.split()[0] for p in problems] == ["--fresh-share", "--generator-steps", "--generator"]
        assert "no such folder" in problems[-1]
    assert check(replace(tiny_config, perturb="adversarial", generator="someone/model")) == [], "the Hub knows"


def test_options_that_contradict_each_other_are_named_with_their_values() -> None:
    assert problems(AdversarialOptions()) == []
    assert problems(AdversarialOptions(fresh_share=0.5, replay_share=0.5)) == []
    (share,) = problems(AdversarialOptions(fresh_share=0.5, replay_share=0.6))
    assert share == "--fresh-share 0.5 and --replay-share 0.6: expected at most 1 together"
    (steps,) = problems(AdversarialOptions(generator_steps=3, student_steps=2))
    assert steps.startswith("--generator-steps 3: expected at most the 2 steps")


def test_a_callable_teacher_and_gold_labels_do_not_go_with_it(tiny_config: DistillConfig) -> None:
    assert run_problems(tiny_config, black_box=False) == []
    found = run_problems(tiny_config, black_box=True)
    assert [line.partition(":")[0] for line in found] == ["--adversary gradient", "--generator build"]
    other = replace(tiny_config, adversary="candidates", generator="someone/model")
    assert run_problems(other, black_box=True) == []
    (gold,) = run_problems(replace(other, gold_labels="rows.tsv"), black_box=True)
    assert gold.startswith("--gold-labels: ")


def test_texts_that_are_asked_for_grow_with_what_is_written(tiny_config: DistillConfig) -> None:
    config = replace(tiny_config, pool_size=2_000, fresh_share=0.25)
    found = queries(config)
    assert 0 < found <= config.pool_size - MIN_TRANSFER
    assert found < queries(replace(config, fresh_share=0.5))
    assert found < queries(replace(config, epochs=2 * config.epochs))
    with pytest.raises(InputError, match=r"--pool-size 2000: expected more than the \d+ texts"):
        queries(replace(config, adversary="candidates", row_candidates=8))


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"batch_size": 4}, "in every 4 (--batch-size 4)"),
        ({"fresh_share": 0.001}, "in every 32 (--batch-size 32)"),
        ({"batch_size": 1, "gradient_accumulation": 7}, "in every 7 (--batch-size 1, --gradient-accumulation 7)"),
        ({"batch_size": 4, "num_processes": 2}, "in every 2 (--batch-size 4, --num-processes 2)"),
        ({"fresh_share": 0.04, "num_processes": 2}, "in every 16 (--batch-size 32, --num-processes 2)"),
    ],
    ids=["batch", "share", "accumulation", "processes", "one_process_of_two"],
)
def test_batches_without_a_row_of_the_generator_are_found_before_weights_load(
    tiny_config: DistillConfig, changes: dict, named: str
) -> None:
    config = replace(tiny_config, **changes)
    assert check(config) == [], "nothing uses it"
    (problem,) = check(replace(config, perturb="adversarial"))
    assert problem.startswith(f"--fresh-share {config.fresh_share}: ") and named in problem


def test_the_smallest_batches_that_hold_a_row_of_the_generator_are_accepted(tiny_config: DistillConfig) -> None:
    for changes in (
        {"batch_size": 8},
        {"batch_size": 1, "gradient_accumulation": 8},
        {"fresh_share": 0.2, "batch_size": 16, "num_processes": 2},
        {"fresh_share": 1.0, "replay_share": 0.0, "batch_size": 8, "num_processes": 8},
    ):
        config = replace(tiny_config, perturb="adversarial", **changes)
        origins = make_schedule(config, 1).origins(0, config.batch_size * config.gradient_accumulation)
        assert (origins == Origin.FRESH).any()
        assert batch_problems(config, config.num_processes or 1) == []
    worst = replace(tiny_config, perturb="adversarial", batch_size=0, fresh_share=float("nan"))
    assert batch_problems(worst, 1) == [], "the limits say it"

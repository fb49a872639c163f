"""Shares of a batch: how many rows they are, what a run asks for, and what cannot be."""

from __future__ import annotations

from dataclasses import replace

import pytest
from conftest import as_flags

from zskd.checks import check
from zskd.config.distillation import DistillConfig, optimizer_steps
from zskd.config.methods.shares import asked_rows, rows_of, steps_before
from zskd.config.methods.table import METHODS, method_queries

MOVED = ["anchors", "backward-pass", "inconsistent"]


@pytest.mark.parametrize("steps", [1, 7, 10, 1_406])
@pytest.mark.parametrize("progress", [0.0, 0.1, 0.2, 1 / 3, 0.6, 0.667, 1.0])
def test_steps_before_are_those_whose_progress_is_less(steps: int, progress: float) -> None:
    assert steps_before(progress, steps) == len([n for n in range(steps) if n / steps < progress])


def test_a_run_asks_for_the_share_of_every_batch_until_the_method_ends() -> None:
    config = DistillConfig(pool_size=6_400, batch_size=64, epochs=1.0)
    assert optimizer_steps(config, 6_400) == 100
    assert asked_rows(config, 0.125) == 800 and asked_rows(config, 0.125, 0.5) == 400
    assert asked_rows(replace(config, gradient_accumulation=2), 0.125) == 50 * rows_of(0.125, 128)
    used = replace(config, method=MOVED, backward_steps=2, anchors_steps=3, anchors_until=0.5, inconsistent_until=1.0)
    assert [METHODS[name].queries(used) for name in MOVED] == [4 * 400, 3 * 800, 3 * 800]
    assert METHODS["anchors"].queries(replace(used, anchors_text=1.0)) == 0


def test_shares_are_rows_and_fit_into_a_batch(tiny_config: DistillConfig) -> None:
    config = replace(tiny_config, method=MOVED, batch_size=16, pool_size=30_000)
    assert check(config) == []
    (none,) = check(replace(config, backward_share=0.01))
    assert none.startswith("--backward-share 0.01: expected at least one row of every 16") and "at least 0.063" in none
    (more,) = check(replace(config, backward_share=0.5, anchors_share=0.5))
    assert more.startswith("--anchors-share 0.5, --backward-share 0.5, --inconsistent-share 0.125: expected at most 1")
    assert check(replace(config, backward_share=0.0, anchors_share=0.0, inconsistent_share=0.0)) == []
    assert check(replace(config, anchors_share=1.0, anchors_text=1.0, backward_share=0.5)) == [], (
        "no anchor is mixed in"
    )
    mixup = replace(tiny_config, method=["uncertainty-mixup"], mixup_share=0.0, gradient_accumulation=2)
    assert check(mixup) == []


def test_what_does_not_go_with_them_is_said_at_once(cli, tiny_config: DistillConfig, tmp_path) -> None:
    gold = tmp_path / "gold.tsv"
    gold.write_text("sentence\tlabel\nfine\t1\n", encoding="utf-8")
    for name in MOVED:
        problems = check(replace(tiny_config, method=[name], gold_labels=str(gold)))
        assert any(problem.startswith("--gold-labels: a method changes rows") for problem in problems), problems
        (callable_,) = check(replace(tiny_config, method=[name], student=tiny_config.teacher), black_box=True)
        assert callable_.startswith(f"--method {name}: expected a teacher with weights")
    done = cli("distill", *as_flags(replace(tiny_config, method=["backward-pass"], backward_share=0.9, epochs=40.0)))
    assert done.code == 2 and len(done.errors) == 1
    assert "(backward-pass " in done.err and "which grow with the pool; lower --epochs" in done.err
    assert "raise it" not in done.err, "no pool would be large enough"


def test_no_more_is_asked_than_the_pool_has() -> None:
    config = DistillConfig(pool_size=6_400, batch_size=64, epochs=1.0, method=["backward-pass"])
    assert method_queries(config) == 2 * 800

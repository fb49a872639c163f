"""A budget is divided before anything is asked, and what does not fit is refused."""

from __future__ import annotations

from pathlib import Path

import pytest
from conftest import glue_folder

from zskd.config.distillation import DistillConfig
from zskd.errors import InputError
from zskd.tasks.defaults import with_task_defaults
from zskd.tasks.labelled import read_labelled
from zskd.tasks.query_plan import FEWEST_WITH_TOKENS, asks_single_tokens, plan_queries
from zskd.tasks.task import TASKS

SST2 = TASKS["sst2"]


def config(budget: int, **options: object) -> DistillConfig:
    made = DistillConfig(task="sst2", teacher="embedded", query_budget=budget, **options)  # type: ignore[arg-type]
    return with_task_defaults(made)


@pytest.mark.parametrize("budget", [600, 2_000, 5_000, 39_999, 40_000, 61_044, 100_000])
@pytest.mark.parametrize("of_callable", [False, True])
def test_the_parts_are_the_budget(budget: int, of_callable: bool) -> None:
    plan = plan_queries(config(budget), SST2, of_callable=of_callable, vocabulary=30_522)
    assert sum(plan.parts.values()) == budget
    assert plan.gate == len(read_labelled(SST2, SST2.probe_path() or "").labels)
    assert plan.held_out == max(200, budget // 10) or budget == 39_999
    assert plan.identity == (8 if of_callable else 0)
    assert plan.single_tokens == (30_522 if budget >= 2 * 30_522 and not of_callable else 0)


@pytest.mark.parametrize("vocabulary", [100, 20_000, 250_002])
def test_few_queries_are_not_spent_on_single_tokens(vocabulary: int) -> None:
    for budget, asked in ((FEWEST_WITH_TOKENS - 1, False), (FEWEST_WITH_TOKENS, vocabulary <= 20_000), (None, True)):
        assert asks_single_tokens(budget, vocabulary) == asked


def test_students_of_few_queries_go_through_their_inputs_more_often() -> None:
    assert config(2_000).epochs == 22.0 and config(2_000, epochs=3.0).epochs == 3.0
    assert config(100_000).epochs == with_task_defaults(DistillConfig(task="sst2")).epochs == 2.0
    assert config(5_000, pool_size=1_000, batch_size=32).epochs == 20.0


def test_a_smaller_pool_and_another_number_of_held_out_inputs_are_what_was_asked_for() -> None:
    plan = plan_queries(config(5_000, pool_size=1_000, heldout=64), SST2, of_callable=False)
    assert (plan.transfer, plan.held_out) == (1_000, 64) and sum(plan.parts.values()) < 5_000


def test_labelled_rows_that_the_user_adds_count(tmp_path: Path) -> None:
    gold = glue_folder(tmp_path) / "SST-2" / "train.tsv"
    assert plan_queries(config(5_000, gold_labels=str(gold)), SST2, of_callable=True).gold_rows == 120


def test_a_student_with_weights_of_its_own_needs_no_tokens() -> None:
    plan = plan_queries(config(50_000, student="my-student"), SST2, of_callable=False, vocabulary=30_522)
    assert plan.single_tokens == 0


def test_too_small_a_budget_says_what_it_is_spent_on() -> None:
    with pytest.raises(InputError) as raised:
        plan_queries(config(400), SST2, of_callable=True)
    (problem,) = raised.value.problems
    assert problem == (
        "--query-budget 400: expected at least 64 queries for the transfer set, found 0 beside 8 texts that identify a "
        "callable, 228 rows of the probe, 200 held-out inputs; raise it"
    )


def test_what_methods_ask_for_has_to_fit_and_the_message_names_the_budget() -> None:
    with pytest.raises(InputError) as raised:
        plan_queries(config(520, method=["uncertainty-mixup"], epochs=6.0), SST2, of_callable=False)
    (problem,) = raised.value.problems
    assert problem.startswith("--query-budget 520, which leaves 92 for the transfer set: expected at least 64 inputs")
    small = config(5_000, pool_size=92, method=["uncertainty-mixup"], epochs=6.0)
    with pytest.raises(InputError, match="--pool-size 92: expected at least 64 inputs"):
        plan_queries(small, SST2, of_callable=False)

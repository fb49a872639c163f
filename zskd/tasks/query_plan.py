"""What a budget of teacher queries is spent on, counted before the teacher is asked. Imports no torch."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

from zskd.config.distillation import DistillConfig
from zskd.config.methods.shares import MIN_TRANSFER
from zskd.config.methods.table import method_queries
from zskd.errors import InputError
from zskd.tasks.labelled import read_labelled
from zskd.tasks.task import Task

IDENTITY = 8  # fixed texts that identify a callable (`zskd.teacher.blackbox`)
# Single tokens, which are as many as the vocabulary has, are asked for from this budget upwards, where they are at most
# this share of it.
FEWEST_WITH_TOKENS = 40_000
MOST_FOR_TOKENS = 0.5
# The attributes of a plan in words.
PARTS = {
    "identity": "texts that identify a callable",
    "gate": "rows of the probe",
    "held_out": "held-out inputs",
    "single_tokens": "single tokens for the student's start",
    "gold_rows": "labelled rows (--gold-labels)",
    "transfer": "inputs of the transfer set",
}


@dataclass(frozen=True)
class QueryPlan:
    """Most texts that the teacher is asked for, by what for. Together they are at most the budget.

    Attributes:
        identity: fixed texts that identify a callable.
        gate: rows of the task's probe.
        held_out: inputs that select checkpoints and report agreement.
        single_tokens: of the vocabulary, for the word embeddings of a built student.
        gold_rows: labelled rows that the user adds.
        transfer: inputs that the student learns from, those that methods ask for included.
    """

    identity: int
    gate: int
    held_out: int
    single_tokens: int
    gold_rows: int
    transfer: int

    @property
    def parts(self) -> dict[str, int]:
        """The attributes by name."""
        return dataclasses.asdict(self)


def asks_single_tokens(budget: int | None, vocabulary: int) -> bool:
    """Whether the teacher is asked for the single tokens of its vocabulary.

    Example:
        >>> asks_single_tokens(None, 30_522), asks_single_tokens(60_000, 30_522), asks_single_tokens(70_000, 30_522)
        (True, False, True)
    """
    return budget is None or (budget >= FEWEST_WITH_TOKENS and vocabulary <= MOST_FOR_TOKENS * budget)


def plan_queries(config: DistillConfig, task: Task, *, of_callable: bool, vocabulary: int = 0) -> QueryPlan:
    """Divide ``config.query_budget``: what is not needed elsewhere is left for the transfer set.

    Args:
        config: with the task's defaults.
        of_callable: whether the teacher is a callable.
        vocabulary: tokens of the teacher's vocabulary; 0 where it is not known yet.

    Raises:
        InputError: too little is left for a transfer set, or for what methods ask for; or a labelled file cannot be
            read.
    """
    budget = config.query_budget
    assert budget is not None and config.heldout is not None and config.pool_size is not None  # the task's defaults
    probe = task.probe_path()
    asks_tokens = config.student == "build" and not of_callable and asks_single_tokens(budget, vocabulary)
    parts = {
        "identity": IDENTITY if of_callable else 0,
        "gate": 0 if probe is None else len(read_labelled(task, probe).labels),
        "held_out": config.heldout,
        "single_tokens": vocabulary if asks_tokens else 0,
        "gold_rows": gold_rows(config, task),
    }
    left = budget - sum(parts.values())
    if left < MIN_TRANSFER:
        spent = ", ".join(f"{count:,} {PARTS[name]}" for name, count in parts.items() if count)
        raise InputError(
            f"--query-budget {budget}: expected at least {MIN_TRANSFER} queries for the transfer set, found "
            f"{max(left, 0)} beside {spent}; raise it"
        )
    plan = QueryPlan(**parts, transfer=min(left, config.pool_size))
    try:
        method_queries(dataclasses.replace(config, pool_size=plan.transfer))
    except InputError as error:
        if plan.transfer == config.pool_size:
            raise
        size, lowered = f"--pool-size {plan.transfer}", f"--query-budget {budget}, which leaves {plan.transfer:,} for "
        raise InputError([problem.replace(size, f"{lowered}the transfer set") for problem in error.problems]) from error
    return plan


def gold_rows(config: DistillConfig, task: Task) -> int:
    """Labelled rows that the user adds (``--gold-labels``)."""
    if config.gold_labels is None:
        return 0
    return len(read_labelled(task, config.gold_labels, skip_bad_rows=config.skip_bad_rows).labels)

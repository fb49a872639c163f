"""A budget of teacher queries: what it is divided into, and a callable that is held to it."""

from __future__ import annotations

import hashlib
import json
import logging
from dataclasses import replace
from typing import Any

import numpy as np
from datasets import Dataset

from zskd.config.methods.shares import MIN_TRANSFER
from zskd.config.methods.table import method_queries
from zskd.config.resolve import to_dict
from zskd.errors import InputError, RunError
from zskd.models.bulk import Meter
from zskd.models.vocabulary import vocabulary_size
from zskd.runs.folder import FREE_OPTIONS
from zskd.runs.wording import budget_words
from zskd.stages.inputs import Setting
from zskd.system.processes import on_main
from zskd.system.progress import bar
from zskd.system.seeds import Stream, generator
from zskd.tasks.labelled import read_labelled
from zskd.tasks.query_plan import plan_queries
from zskd.teacher.asking import Allowance
from zskd.teacher.base import Teacher, Texts
from zskd.teacher.blackbox import BlackBox
from zskd.teacher.load import AnyTeacher, shows_weights
from zskd.text.corpus import Corpus
from zskd.text.repeats import distinct_rows
from zskd.text.shaping import Pools, text_columns

logger = logging.getLogger(__name__)


def divide(setting: Setting, handed_over: AnyTeacher | None, vocabulary: int = 0) -> Setting:
    """Divide ``--query-budget`` among what the teacher is asked for, and lower the pool size to what is left.

    Args:
        handed_over: a teacher in place of ``config.teacher``.
        vocabulary: tokens of its vocabulary; 0 while that is not known.

    Raises:
        InputError: too little is left for a transfer set, or for what methods ask for; or these would ask a callable in
            several processes, of which none knows what the others have asked for in vain.
    """
    config = setting.config
    if config.query_budget is None:
        return setting
    of_callable = not shows_weights(config.teacher if handed_over is None else handed_over)
    plan = on_main(lambda: plan_queries(config, setting.task, of_callable=of_callable, vocabulary=vocabulary))
    setting = replace(setting, config=replace(config, pool_size=plan.transfer), plan=plan)
    if of_callable and setting.processes > 1 and method_queries(setting.config):
        raise InputError(
            f"--query-budget {config.query_budget}: methods ask a callable while the student is trained, for which one "
            f"process has to be enough; found {setting.processes}"
        )
    return setting


def settle(setting: Setting, teacher: Teacher, corpus: Corpus, pools: Pools) -> tuple[Setting, Pools]:
    """Divide the budget once more, as the teacher's vocabulary is known now, and cut the pools to it.

    A callable gets an allowance: its calls that fail take from the transfer set.
    """
    if isinstance(teacher, BlackBox):
        teacher.asker.allowance = None  # one that was handed over may have that of an earlier run
    if setting.plan is None:
        return setting, pools
    setting = divide(setting, teacher, 0 if teacher.tokenizer is None else vocabulary_size(teacher.tokenizer))
    assert setting.plan is not None and setting.config.query_budget is not None
    logger.info("query budget: %s", budget_words(setting.config.query_budget, setting.plan.parts))
    if isinstance(teacher, BlackBox):
        _allow(setting, teacher, corpus)
    return setting, _cut(setting, pools)


def _allow(setting: Setting, teacher: BlackBox, corpus: Corpus) -> None:
    """Hold a callable to the budget, of which this call and those that it continues have used some in vain."""
    assert setting.plan is not None
    store, run = teacher.asker.store, _run_key(setting, corpus)
    identity, left = teacher.repeated, setting.plan.transfer - method_queries(setting.config)
    before = store.repeated(run) + identity
    teacher.asker.allowance = Allowance(left - before, before, lambda texts: store.note_repeated(run, texts - identity))


def _run_key(setting: Setting, corpus: Corpus) -> str:
    """Names a run and the calls that go on with it: its folder, and what decides which texts are asked for."""
    options = {name: value for name, value in to_dict(setting.config).items() if name not in FREE_OPTIONS}
    content = json.dumps([str(setting.folder.path.absolute()), options, corpus.fingerprint], default=str)
    return hashlib.sha256(content.encode()).hexdigest()


def within_budget(setting: Setting, teacher: Teacher, pools: Pools) -> tuple[Pools, int]:
    """Ask a callable for the pools until the budget is used up, in one process.

    Labelled rows that the user adds are asked for as well, so that the transfer set makes up for calls that fail.

    Returns:
        The pools, of which `transfer` has only the inputs that it answered; and how many texts it was asked for.

    Raises:
        RunError: calls that failed have left too little for a transfer set.
    """
    if not isinstance(teacher, BlackBox) or setting.plan is None:
        return pools, 0
    before = teacher.asker.asked

    def ask() -> list[int] | None:
        for name in ("select", "report"):
            _ask_all(teacher, _texts(getattr(pools, name)), setting.length, f"teacher labels {name}")
        if (gold := setting.config.gold_labels) is not None:
            rows = read_labelled(setting.task, gold, skip_bad_rows=setting.config.skip_bad_rows)
            _ask_all(teacher, rows.texts, setting.length, "teacher labels gold rows")
        return _ask_first(teacher, pools.transfer, setting)

    kept = on_main(ask)
    return (
        pools if kept is None else replace(pools, transfer=pools.transfer.select(kept))
    ), teacher.asker.asked - before


def _ask_all(teacher: BlackBox, texts: Texts, length: int, description: str) -> None:
    with bar(description, len(texts[0]), "text") as progress:
        teacher.asker.answers(teacher.prepare(texts, length), Meter(progress).count)


def _ask_first(teacher: BlackBox, pool: Dataset, setting: Setting) -> list[int] | None:
    """Ask for the different inputs of a pool in a random order. Rows that were answered; None for all."""
    found = distinct_rows(pool.select_columns(text_columns(pool)))
    rows, places = (np.arange(len(pool)), None) if found is None else found
    order = generator(Stream.ASKED, setting.config.shaping_seed).permutation(len(rows))
    texts = teacher.prepare(_texts(pool.select(rows[order])), setting.length)
    with bar("teacher labels transfer", len(texts), "text") as progress:
        first = teacher.asker.answer_first(texts, Meter(progress).count)
    if first == len(texts):
        return None
    if first < MIN_TRANSFER:
        repeated = 0 if teacher.asker.allowance is None else teacher.asker.allowance.repeated
        raise RunError(
            f"--query-budget {setting.config.query_budget}: expected at least {MIN_TRANSFER} queries for the transfer "
            f"set, found {first}, as {repeated:,} texts were asked for in vain; what was answered is kept; raise it"
        )
    logger.warning(
        "labelling: %s of %s inputs for the transfer set were asked for, as texts of calls that failed took from "
        "--query-budget",
        f"{first:,}",
        f"{len(texts):,}",
    )
    answered = np.zeros(len(rows), dtype=bool)
    answered[order[:first]] = True
    kept: list[int] = np.flatnonzero(answered if places is None else answered[places]).tolist()
    return kept


def _texts(pool: Dataset) -> Texts:
    return tuple(list(pool[name]) for name in text_columns(pool))


def _cut(setting: Setting, pools: Pools) -> Pools:
    """Pools with as many inputs as the budget has for each, drawn at random. Those that are shaped mostly fit."""
    assert setting.plan is not None
    most = {
        "transfer": setting.plan.transfer - method_queries(setting.config),
        "select": setting.plan.held_out // 2,
        "report": setting.plan.held_out // 2,
    }
    kept: dict[str, Any] = {}
    for name, limit in most.items():
        pool = getattr(pools, name)
        if len(pool) > limit:
            rows = generator(Stream.ASKED, setting.config.shaping_seed, name).permutation(len(pool))[:limit]
            kept[name] = pool.select(np.sort(rows))
    return replace(pools, **kept)


def spent(
    setting: Setting, teacher: Teacher, gate: dict[str, Any] | None, metrics: dict[str, Any]
) -> dict[str, Any] | None:
    """What the budget was spent on, for ``metrics.json``; None without one.

    Args:
        metrics: content of ``metrics.json`` so far.

    Returns:
        ``budget``, ``spent``, and ``for``: texts by what they were for, as in `QueryPlan`; ``repeated`` are those of
        calls that failed.
    """
    plan = setting.plan
    if plan is None:
        return None
    asked = metrics["teacher_queries_for"]
    allowance = teacher.asker.allowance if isinstance(teacher, BlackBox) else None
    parts = {
        "identity": plan.identity,
        "gate": 0 if gate is None else gate["rows"],
        **asked,
        "repeated": allowance.repeated if allowance else 0,
    }
    repeats = metrics["teacher_queries_repeated"]
    return {"budget": setting.config.query_budget, "spent": sum(parts.values()) - repeats, "for": parts}

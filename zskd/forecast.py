"""What a distillation would take: inputs, teacher queries, steps, time and disk, without starting it.

Inputs, queries and steps are counted. Time and disk are estimated from a rehearsal: the same distillation with a few
inputs, in a temporary folder, with what the cache holds of backbones and text but none of its labels.
"""

from __future__ import annotations

import contextlib
import json
import logging
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from zskd.config.cost import batches
from zskd.config.distillation import DistillConfig
from zskd.config.methods.table import method_queries
from zskd.config.resolve import cache_root
from zskd.hub.ask import is_callable_name
from zskd.pipeline import distill
from zskd.runs.folder import run_path
from zskd.runs.wording import budget_words
from zskd.system.files import folder_size
from zskd.system.formatting import about
from zskd.tasks.defaults import with_task_defaults
from zskd.tasks.query_plan import QueryPlan, gold_rows, plan_queries
from zskd.tasks.task import find_task
from zskd.text.corpus import build_corpus
from zskd.text.shaping import limited_size
from zskd.text.sources import find_sources

logger = logging.getLogger(__name__)

REHEARSED = 2_048  # inputs of a rehearsal
_SHARED = ("backbones", "corpora", "words", "starts", "neighbours")  # folders of the cache that it uses


@dataclass(frozen=True)
class Forecast:
    """What a distillation would take.

    Attributes:
        inputs: of the transfer set, as many as the text allows.
        heldout: inputs that are held out; of a callable teacher, at most.
        single_tokens: of the vocabulary that the teacher is asked for, for the start of a built student.
        gold_rows: labelled rows that the user adds.
        steps: optimizer steps.
        plan: what ``--query-budget`` is divided into; None without one.
        seconds: about, by phase, without scores on evaluation files; None where a callable teacher would have to be
            asked to find out.
        cache_bytes, run_bytes: of disk, about; None likewise.
        rehearsal: seconds that finding out took.
    """

    inputs: int
    heldout: int
    single_tokens: int
    gold_rows: int
    steps: int
    plan: QueryPlan | None = None
    seconds: dict[str, float] | None = None
    cache_bytes: int | None = None
    run_bytes: int | None = None
    rehearsal: float = 0.0

    @property
    def queries(self) -> int:
        """Most texts that the teacher is asked for; inputs that repeat another are not asked for again."""
        return self.inputs + self.heldout + self.single_tokens + self.gold_rows


def forecast(config: DistillConfig) -> Forecast:
    """Find out what a distillation would take. Nothing of it is kept but text and single tokens in the cache.

    Args:
        config: checked options.

    Raises:
        InputError: the text or the teacher are not usable.
    """
    began, config = time.monotonic(), with_task_defaults(config)
    logger.info("dry run: a rehearsal with %s inputs", f"{REHEARSED:,}")
    with tempfile.TemporaryDirectory() as name, _warnings_alone():
        folder, own = Path(name), cache_root(config.cache_dir)
        corpus = build_corpus(find_sources(config.corpus), config.corpus_fraction, own)
        config, plan = _within_budget(config)
        assert config.pool_size is not None and config.heldout is not None
        size = limited_size(config.pool_size, corpus.count)
        if is_callable_name(config.teacher):
            gold = gold_rows(config, find_task(config.task))
            steps, spent = _steps(config, size + gold), time.monotonic() - began
            return Forecast(size, config.heldout, 0, gold, steps, plan, rehearsal=spent)
        _share(own, folder / "cache")
        rehearsed = replace(
            config, pool_size=min(REHEARSED, size), checkpoints=1, glue_dir=None, hub_eval=False, resume=False,
            report_to="none", num_processes=None, output_dir=str(folder / "run"), cache_dir=str(folder / "cache"),
        )  # fmt: skip
        metrics = distill(rehearsed).metrics
        asked = metrics["teacher_queries_for"]
        gold = asked.get("gold_rows", 0)
        config, plan = _within_budget(config, asked["single_tokens"])
        assert config.pool_size is not None
        size = min(size, config.pool_size)
        steps = _steps(config, size + gold)
        found = Forecast(size, asked["held_out_inputs"], asked["single_tokens"], gold, steps, plan)
        return _scaled(config, found, rehearsed, metrics, folder / "cache", began)


def _within_budget(config: DistillConfig, vocabulary: int = 0) -> tuple[DistillConfig, QueryPlan | None]:
    """The options with the pool that ``--query-budget`` leaves, and the plan."""
    if config.query_budget is None:
        return config, None
    of_callable = is_callable_name(config.teacher)
    plan = plan_queries(config, find_task(config.task), of_callable=of_callable, vocabulary=vocabulary)
    return replace(config, pool_size=plan.transfer), plan


def _steps(config: DistillConfig, rows: int) -> int:
    return -(-batches(replace(config, pool_size=rows)) // config.gradient_accumulation)


def _scaled(
    config: DistillConfig,
    found: Forecast,
    rehearsed: DistillConfig,
    metrics: dict[str, Any],
    cache: Path,
    began: float,
) -> Forecast:
    """Time and disk of a rehearsal, at the size of the run."""
    assert rehearsed.pool_size is not None
    others = found.heldout + found.gold_rows
    larger, asked = found.inputs / rehearsed.pool_size, (found.inputs + others) / (rehearsed.pool_size + others)
    run = run_path(rehearsed)
    history: list[dict[str, Any]] = json.loads((run / "history.json").read_text(encoding="utf-8"))
    evaluation = sum(entry.get("eval_runtime", 0.0) for entry in history)  # one, on the real held-out inputs
    grow = {"shaping": larger, "labelling": asked, "selection": larger}
    seconds = {phase: spent * grow.get(phase, 1.0) for phase, spent in metrics["seconds"].items() if phase != "total"}
    steps = max(0.0, seconds["training"] - evaluation) * found.steps / metrics["steps"]
    seconds["training"] = steps + evaluation * config.checkpoints
    return replace(
        found,
        seconds=seconds,
        cache_bytes=round(larger * folder_size(cache / "pools") + asked * folder_size(cache / "labels")),
        run_bytes=folder_size(run) + folder_size(run / "checkpoints"),  # two are kept, and the rehearsal has one
        rehearsal=time.monotonic() - began,
    )


def words(found: Forecast, config: DistillConfig) -> str:
    """A forecast for people."""
    tokens = f", {found.single_tokens:,} single tokens" if found.single_tokens else ""
    tokens += f", {found.gold_rows:,} labelled rows" if found.gold_rows else ""
    asked = method_queries(replace(config, pool_size=found.inputs))
    tokens += f", {asked:,} of the methods" if asked else ""
    lines = [
        f"inputs           {found.inputs - asked:,} of the transfer set, {found.heldout:,} held out",
        f"teacher queries  at most {found.queries:,} (these{tokens})",
        *(
            []
            if found.plan is None
            else [f"query budget     {budget_words(config.query_budget or 0, found.plan.parts)}"]
        ),
        f"steps            {found.steps:,} of {config.batch_size * config.gradient_accumulation} rows",
    ]
    if found.seconds is None or found.cache_bytes is None or found.run_bytes is None:
        lines.append("time and disk    not known: to find out, the callable teacher would have to be asked")
    else:
        parts = sorted(found.seconds.items(), key=lambda part: -part[1])
        shown = (
            ", ".join(f"{phase} {about(spent)}" for phase, spent in parts if spent >= 1)
            or "each phase less than a second"
        )
        lines += [
            f"time             about {about(sum(found.seconds.values()))} in one process, without cached labels",
            f"                 ({shown})",
            f"disk             about {_megabytes(found.cache_bytes)} in the cache, {_megabytes(found.run_bytes)} in "
            f"{run_path(config)}",
        ]
    lines.append(f"found out in {about(found.rehearsal)}; nothing was started")
    return "\n".join(lines)


def _megabytes(size: int) -> str:
    return f"{max(size / 1e6, 0.1):,.{0 if size >= 1e7 else 1}f} MB"


def _share(cache: Path, own: Path) -> None:
    """Let a cache of its own use what another one holds of backbones and text."""
    own.mkdir()
    for name in _SHARED:
        (cache / name).mkdir(parents=True, exist_ok=True)
        (own / name).symlink_to((cache / name).absolute())


@contextlib.contextmanager
def _warnings_alone() -> Iterator[None]:
    """No log of the rehearsal but its warnings, which are those of the run."""
    package = logging.getLogger("zskd")
    level = package.level
    package.setLevel(logging.WARNING)
    try:
        yield
    finally:
        package.setLevel(level)

"""The teacher's part of a run: pass the gate, label all inputs, select the transfer set."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from accelerate import PartialState
from transformers.tokenization_utils_base import PreTrainedTokenizerBase

from zskd.evaluation.gate import check_teacher
from zskd.methods.method import Method
from zskd.models.encoding import tell_cut
from zskd.models.sentence_encoder import embedded_encoder
from zskd.runs.wording import class_shares
from zskd.stages.budget import within_budget
from zskd.stages.inputs import Setting
from zskd.system.processes import main_first, on_main
from zskd.teacher.base import Teacher
from zskd.teacher.labelling import LabelledTexts, label_texts
from zskd.teacher.load import AnyTeacher, load_teacher
from zskd.text.shaping import Pools
from zskd.transfer.gold import label_gold
from zskd.transfer.logits import teacher_logits
from zskd.transfer.pair_grid import grid_line, pair_grid
from zskd.transfer.transfer_report import report_table, transfer_report
from zskd.transfer.transfer_set import TransferSet

logger = logging.getLogger(__name__)


def meet_teacher(
    setting: Setting, handed_over: AnyTeacher | None = None, tokenizer: PreTrainedTokenizerBase | None = None
) -> Teacher:
    """Load the teacher.

    Args:
        handed_over: a teacher in place of ``config.teacher``.
        tokenizer: the tokenizer, if `handed_over` is a model object.

    Raises:
        InputError: it does not load, or cannot read inputs of the run's length.
    """
    config = setting.config
    goes_on = config.resume and config.query_budget is not None

    def load() -> Teacher:
        found = load_teacher(
            setting.task,
            config.teacher if handed_over is None else handed_over,
            setting.cache,
            config.teacher_revision,
            config.label_map,
            tokenizer=tokenizer,
            outputs=config.teacher_outputs,
            retries=config.teacher_retries,
            # Other processes find what the main process was answered.
            identified=goes_on or not PartialState().is_main_process,
        )
        found.check_length(setting.length, f"--teacher {found.name}")
        return found

    return main_first(load)


def pass_gate(setting: Setting, teacher: Teacher) -> dict[str, Any] | None:
    """Score the teacher on the task's probe.

    Returns:
        The gate's scores, see `zskd.evaluation.gate.check_teacher`.

    Raises:
        InputError: it does not pass.
    """
    return on_main(lambda: check_teacher(setting.task, teacher, setting.length))


@dataclass(frozen=True)
class Labelled:
    """The pools with the teacher's logits.

    Attributes:
        parts: ``transfer``, ``select`` and ``report``; also ``gold``, if the user added labelled rows.
        precision: the precision in which the teacher answered.
        skipped: number of labelled rows that the user added and that could not be read.
        asked: texts that the teacher was asked for in this run before its answers were put into `parts`.
    """

    parts: dict[str, LabelledTexts]
    precision: str
    skipped: int = 0
    asked: int = 0

    @property
    def queries(self) -> int:
        """Number of texts that the teacher is asked for; each part counts an input that it repeats once."""
        return sum(part.queries for part in self.parts.values())

    @property
    def live(self) -> int:
        """How many of them the teacher answered in this run; the rest came from the cache."""
        return self.asked + sum(part.live for part in self.parts.values())

    @property
    def repeated(self) -> int:
        """Number of inputs that repeat another of their part and have its logits."""
        return sum(part.repeated for part in self.parts.values())

    @property
    def cut(self) -> dict[str, int | None]:
        """Number of different inputs of each part that were longer than the maximum length (see `LabelledTexts`)."""
        return {name: part.cut for name, part in self.parts.items()}


def label(setting: Setting, teacher: Teacher, pools: Pools) -> Labelled:
    """Let the teacher label all inputs; of a budget, as many as it reaches."""
    config = setting.config
    pools, asked = within_budget(setting, teacher, pools)
    precision = teacher.precision(config.precision)
    labeller = teacher.for_inference(precision, config.compile)  # freed before training starts
    skipped = 0
    options: dict[str, Any] = {"max_length": setting.length, "precision": precision}
    parts = {
        name: label_texts(
            getattr(pools, name), labeller, setting.cache, description=f"teacher labels {name}", **options
        )
        for name in ("transfer", "select", "report")
    }
    if config.gold_labels is not None:
        options["skip_bad_rows"] = config.skip_bad_rows
        gold = label_gold(setting.task, config.gold_labels, labeller, setting.cache, pools.transfer, **options)
        parts["gold"], skipped = gold, gold.skipped
    found = Labelled(parts, precision, skipped, asked)
    if PartialState().is_main_process:
        for name, part in parts.items():
            tell_cut(f"labelling, {name}", part.cut, part.queries, setting.length, "different inputs")
    counts = (found.queries + found.repeated, found.live, found.queries - found.live, found.repeated)
    whole, live, cached, repeated = (f"{n:,}" for n in counts)
    logger.info(
        "labelling: %s inputs, %s asked now (%s), %s cached, %s repeat others", whole, live, precision, cached, repeated
    )
    return found


def select(setting: Setting, labelled: Labelled, methods: Sequence[Method]) -> tuple[TransferSet, dict[str, Any]]:
    """Select the transfer set.

    Returns:
        The transfer set, and a report of the teacher's answers per family of inputs; for ``--pairs wide`` also, as
        ``grid``, `pair_grid`.
    """
    config, labels = setting.config, setting.task.labels
    inputs = labelled.parts["transfer"].dataset
    logits = teacher_logits(inputs)
    report = on_main(lambda: transfer_report(inputs, logits, labels))
    logger.info(
        "%s\nwords, confidence and entropy are means, entropy in nats (a uniform answer has %.3f)",
        report_table(report, labels),
        report["entropy_limit"],
    )
    if config.pairs == "wide":
        report["grid"] = on_main(lambda: pair_grid(inputs, logits, labels, embedded_encoder(setting.cache)))
        logger.info(grid_line(report["grid"]))
    chosen = TransferSet.of(inputs, logits, labels, config.seed).confident(config.min_confidence)
    for method in methods:
        chosen = method.transfer_set(chosen)
    shares = class_shares(chosen.report())
    logger.info(
        "selection: %d of %d inputs stay, in %d rows; %s", chosen.distinct, len(logits), len(chosen.rows), shares
    )
    return chosen, report

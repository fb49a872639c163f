"""`distill`, which runs all stages in order: text, teacher, transfer set, student, training, scores, report."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from zskd.config.distillation import DistillConfig
from zskd.evaluation.results import finished
from zskd.methods.table import make_methods
from zskd.runs.read import read_part
from zskd.stages import budget, inputs, students, teachers
from zskd.stages.request import in_words_of_python, make_request
from zskd.stages.texts import Inputs
from zskd.system.processes import on_main
from zskd.tasks.task import Task
from zskd.teacher.load import AnyTeacher
from zskd.text.shaping import Pools

if TYPE_CHECKING:
    from transformers import PreTrainedModel
    from transformers.tokenization_utils_base import PreTrainedTokenizerBase

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Result:
    """What a run leaves.

    Attributes:
        metrics: the content of ``metrics.json``: ``agreement`` (share of held-out inputs on which student and teacher
            predict the same class), ``compression``, the scores, the teacher's queries, seconds per stage.
        run_dir: the run folder.

    Example:
        `run_dir` is the folder of a finished run.

        >>> result = Result.read(run_dir)
        >>> result.student.config.id2label, 0 <= result.metrics["agreement"] <= 1
        ({0: 'negative', 1: 'positive'}, True)
    """

    metrics: dict[str, Any]
    run_dir: Path

    @classmethod
    def read(cls, run_dir: str | Path) -> Result:
        """The result of a finished run.

        Raises:
            InputError: no run folder, or a run that is not finished.
        """
        return cls(read_part(Path(run_dir), "metrics.json"), Path(run_dir))

    @cached_property
    def student(self) -> PreTrainedModel:
        """The student, loaded from the run folder: a stock sequence classifier in float32 and evaluation mode."""
        from zskd.models.loading import Origin, load_weights

        return load_weights(Origin(str(self.run_dir / "student")), flag="run_dir")

    @cached_property
    def tokenizer(self) -> PreTrainedTokenizerBase:
        """The student's tokenizer."""
        from zskd.models.loading import Origin
        from zskd.models.tokenizers import load_tokenizer

        return load_tokenizer(Origin(str(self.run_dir / "student")), flag="run_dir")


@in_words_of_python
def distill(
    config: DistillConfig | str | None = None,
    *,
    teacher: AnyTeacher | Path | None = None,
    tokenizer: PreTrainedTokenizerBase | None = None,
    task: Task | str | Path | None = None,
    labels: Sequence[str] | None = None,
    texts: Inputs | None = None,
    corpus: Sequence[str | Path] | str | Path | None = None,
    run_dir: str | Path | None = None,
    pools: Pools | None = None,
    zero_shot: bool = True,
    **options: Any,
) -> Result:
    """Distil a teacher into a student, without the data that the teacher was trained on.

    Args:
        config: a configuration, the name of a packaged one (``"embedded"``), or a YAML file; None for the defaults.
            The arguments below win over it.
        teacher: a Hub id, a folder, ``"embedded"`` or ``module:function``; a model object (see
            `tokenizer`), which is frozen and put into evaluation mode; a `Teacher`; or a callable that turns a list of
            texts (of pairs) into logits ``(rows, num_labels)``, in the order of the labels (with
            ``teacher_outputs="probabilities"`` or ``"labels"`` into these). A callable has no weights
            to build a student from: one for two texts begins with the packaged start, else name one with ``student=``.
        tokenizer: of a model object; default: the one in the folder that the model was loaded from.
        task: a `Task`, the name of a preset (`TASKS`), or a task file.
        labels: label names in place of a task; the student's classes are in this order. They are matched with the
            teacher's by name; ``label_map={"LABEL_0": "negative", ...}`` says which is which where names differ.
        texts: text that has nothing to do with the task: at least 100 texts, or a `datasets.Dataset` with a column
            ``text``, which are split into sentences and shaped into inputs; or at least 100 pairs (columns ``text`` and
            ``text_b``), which are used as they are, a fifth of them held out.
        corpus: files, folders, Hub data sets or ``embedded``, as ``--corpus`` takes them; with `texts`, more text.
        run_dir: the run folder; default ``runs/TASK-SEED`` where `config` names a task, else a new temporary one.
        pools: inputs made elsewhere, in place of those shaped from the text.
        zero_shot: recorded as ``zero_shot.enforced``. A recipe that hands in the task's own inputs, such as the
            in-domain ceiling, passes False.
        options: any option of `DistillConfig` by its name, such as ``epochs=1.0`` or ``perturb="none"``.

    Returns:
        The student (a stock sequence classifier in float32 and evaluation mode), its tokenizer, the metrics and the run
        folder.

    Raises:
        InputError: the input is wrong; nothing was written to the run folder, or the student was saved.
        RunError: a download failed.

    Example:
        ``examples/own_teacher.py`` is a complete program. What is wrong is said at once:

        >>> import zskd
        >>> zskd.distill(teacher="my-classifier", labels=["negative", "positive"], texts=["too few"])
        Traceback (most recent call last):
        ...
        zskd.errors.InputError: texts: expected at least 100, found 1; add text, or give a corpus
    """
    asked = make_request(
        config, teacher=teacher, tokenizer=tokenizer, task=task, labels=labels, texts=texts, corpus=corpus,
        run_dir=run_dir, pools=pools, **options,
    )  # fmt: skip
    setting = inputs.begin(asked.config)
    run, methods = setting.folder, make_methods(asked.config)
    if (known := on_main(lambda: finished(run))) is not None:
        on_main(lambda: students.complete(run))
        return Result(known, run.path)
    with run.phase("corpus"):
        corpus_read = inputs.read_corpus(setting, asked.least)
        setting = inputs.settle_language(setting, corpus_read)
    setting = budget.divide(setting, asked.teacher)
    with run.phase("shaping"):
        if asked.pools is None:
            setting = inputs.limit_pool(setting, corpus_read)
        shaped = asked.pools or inputs.shape(setting, corpus_read)
    on_main(lambda: run.check_inputs(shaped.fingerprint))
    with run.phase("teacher"):
        known_teacher = teachers.meet_teacher(setting, asked.teacher, asked.tokenizer)
        setting, pools = budget.settle(setting, known_teacher, corpus_read, shaped)
        gate = teachers.pass_gate(setting, known_teacher)
    with run.phase("labelling"):
        labelled = teachers.label(setting, known_teacher, pools)
    with run.phase("selection"):
        chosen, families = teachers.select(setting, labelled, methods)
    with run.phase("student"):
        initial = students.start_student(setting, known_teacher, labelled.precision)
        on_main(lambda: run.check_start(initial.start))
    students.prepare(setting, methods, known_teacher, initial, corpus_read, labelled.precision)
    record = students.record(setting, corpus_read, pools, known_teacher, gate, labelled, chosen, initial)
    on_main(lambda: run.start(record, families, labelled.live + initial.asked))
    with run.phase("training"):
        trained = students.train(setting, methods, known_teacher, initial, labelled, chosen)
    with run.phase("scoring"):
        scores = students.score(setting, known_teacher, initial, labelled, pools, trained, record)
    metrics = students.metrics(setting, scores, zero_shot=zero_shot)
    metrics["query_budget"] = budget.spent(setting, known_teacher, gate, metrics)
    on_main(lambda: run.finish(metrics))
    on_main(lambda: students.write_report(run))
    return Result(metrics, run.path)
